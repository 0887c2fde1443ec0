import math
import re
from pathlib import Path

import pytest
import torch
from dassl.engine import SimpleTrainer, TrainerBase, build_trainer
from torch import nn

from .toy import ColourTrainer

PROGRESS = re.compile(
    r"epoch \[(\d)/4\] batch \[(\d)/2\] time \d+\.\d{3} \(\d+\.\d{3}\) "
    r"data \d+\.\d{3} \(\d+\.\d{3}\) loss \d+\.\d{4} \(\d+\.\d{4}\) "
    r"acc \d+\.\d{4} \(\d+\.\d{4}\) lr (\S+) eta \d+:\d\d:\d\d"
)


def weights(trainer):
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


def assert_equal(some, others):
    assert all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def test_learns_and_prints(cfg, capsys):
    cfg.OPTIM.LR = 2.0
    trainer = build_trainer(cfg)
    chance = trainer.test()
    capsys.readouterr()
    trainer.train()
    lines = capsys.readouterr().out.splitlines()
    progress = [match for line in lines if (match := PROGRESS.fullmatch(line))]
    assert [match.group(1, 2) for match in progress] == [(str(e), "2") for e in (1, 2, 3, 4)]
    rates = [float(match.group(3)) for match in progress]
    expected = [1e-5] + [2.0 * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(3)]
    assert rates == pytest.approx(expected, rel=1e-3)
    end = lines[lines.index("Finish training") :]
    assert end[2:9] == [
        "Evaluate on the *test* set",
        "=> result",
        "* total: 12",
        "* correct: 12",
        "* accuracy: 100.0%",
        "* error: 0.0%",
        "* macro_f1: 100.0%",
    ]
    assert re.fullmatch(r"Elapsed: \d:\d\d:\d\d", end[9])
    assert chance < 100 == trainer.test()
    assert list(Path(cfg.OUTPUT_DIR, "tensorboard").glob("events*"))


def test_a_short_epoch_has_one_line(cfg, capsys):
    cfg.TRAIN.PRINT_FREQ = 10
    build_trainer(cfg).train()
    lines = capsys.readouterr().out.splitlines()
    assert sum(bool(PROGRESS.fullmatch(line)) for line in lines) == 4


def test_a_run_of_days_is_told_in_hours(cfg, capsys):
    class Slow(ColourTrainer):
        def before_train(self):
            super().before_train()
            self.time_start -= 26 * 3600 + 3 * 60 + 4

    cfg.OPTIM.MAX_EPOCH = 0
    Slow(cfg).train()
    assert "Elapsed: 26:03:04" in capsys.readouterr().out


def test_hooks_and_counters_in_order(cfg):
    calls = []

    class Recorder(ColourTrainer):
        def check_cfg(self, cfg):
            calls.append("check_cfg")

        def build_data_loader(self):
            calls.append(f"build_data_loader on {self.device}")
            super().build_data_loader()

        def build_model(self):
            calls.append("build_model")
            super().build_model()

        def before_train(self):
            super().before_train()
            calls.append("before_train")

        def before_epoch(self):
            calls.append(f"before_epoch {self.epoch} of {self.max_epoch}")

        def forward_backward(self, batch):
            calls.append(f"batch {self.batch_idx} of {self.num_batches}")
            assert self.model.training
            return super().forward_backward(batch)

        def after_epoch(self):
            calls.append("after_epoch")
            super().after_epoch()

        def after_train(self):
            calls.append("after_train")
            super().after_train()

    cfg.OPTIM.MAX_EPOCH = 2
    Recorder(cfg).train()
    batches = ["batch 0 of 2", "batch 1 of 2", "after_epoch"]
    assert calls == [
        "check_cfg",
        "build_data_loader on cpu",
        "build_model",
        "before_train",
        "before_epoch 0 of 2",
        *batches,
        "before_epoch 1 of 2",
        *batches,
        "after_train",
    ]


def test_checkpoint_files(cfg):
    cfg.TRAIN.CHECKPOINT_FREQ = 3
    build_trainer(cfg).train()
    folder = Path(cfg.OUTPUT_DIR, "linear")
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint",
        "model.pth.tar-3",
        "model.pth.tar-4",
    ]
    assert (folder / "checkpoint").read_text().strip() == "model.pth.tar-4"
    saved = torch.load(folder / "model.pth.tar-4", weights_only=True)
    assert set(saved) == {"state_dict", "epoch", "optimizer", "scheduler", "val_result"}
    assert (saved["epoch"], saved["val_result"]) == (4, None)


def test_loading_gives_the_same_accuracy_twice(cfg, capsys):
    cfg.OPTIM.MAX_EPOCH = 2
    trainer = build_trainer(cfg)
    trainer.train()
    accuracy = trainer.test()
    for _ in range(2):
        fresh = build_trainer(cfg)
        capsys.readouterr()
        fresh.load_model(cfg.OUTPUT_DIR, epoch=2)
        assert "(epoch = 2, val_result = none)" in capsys.readouterr().out
        assert fresh.test() == accuracy
        assert_equal(weights(fresh), weights(trainer))
    with pytest.raises(FileNotFoundError, match=r"model\.pth\.tar-9"):
        fresh.load_model(cfg.OUTPUT_DIR, epoch=9)
    fresh.load_model("")
    assert "No model is loaded" in capsys.readouterr().out


@pytest.mark.parametrize("from_resume_key", [False, True])
def test_resumed_run_ends_with_the_same_numbers(cfg, tmp_path, from_resume_key):
    whole = build_trainer(cfg)
    whole.train()

    class Killed(ColourTrainer):
        def before_epoch(self):
            if self.epoch == 2:
                raise KeyboardInterrupt

    cfg.OUTPUT_DIR = str(tmp_path / "killed")
    cfg.TRAIN.CHECKPOINT_FREQ = 1
    with pytest.raises(KeyboardInterrupt):
        Killed(cfg).train()
    if from_resume_key:
        cfg.RESUME = cfg.OUTPUT_DIR
        cfg.OUTPUT_DIR = str(tmp_path / "new")
    resumed = build_trainer(cfg)
    resumed.train()
    assert resumed.start_epoch == 2
    assert_equal(weights(resumed), weights(whole))
    assert Path(cfg.OUTPUT_DIR, "linear", "model.pth.tar-4").is_file()


class Scripted(ColourTrainer):
    """Validation results as scripted; the weights of the test are recorded."""

    results = (50.0, 70.0, 60.0, 70.0)

    def test(self, split=None):
        if split == "val":
            return self.results[self.epoch]
        self.tested = weights(self)
        return 0.0

    def after_epoch(self):
        self.__dict__.setdefault("after", []).append(weights(self))
        super().after_epoch()


def test_best_val_tests_the_first_best_epoch(cfg):
    cfg.TEST.FINAL_MODEL = "best_val"
    trainer = Scripted(cfg)
    trainer.train()
    assert_equal(trainer.tested, trainer.after[1])
    best = torch.load(Path(cfg.OUTPUT_DIR, "linear", "model-best.pth.tar"), weights_only=True)
    assert (best["epoch"], best["val_result"]) == (2, 70.0)
    last = torch.load(Path(cfg.OUTPUT_DIR, "linear", "model.pth.tar-4"), weights_only=True)
    assert last["val_result"] == 70.0


def test_best_val_survives_resuming(cfg):
    cfg.TEST.FINAL_MODEL = "best_val"
    cfg.TRAIN.CHECKPOINT_FREQ = 1

    class Killed(Scripted):
        def before_epoch(self):
            if self.epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Killed(cfg).train()
    resumed = Scripted(cfg)
    resumed.train()
    assert (resumed.start_epoch, resumed.best_result) == (2, 70.0)
    best = torch.load(Path(cfg.OUTPUT_DIR, "linear", "model-best.pth.tar"), weights_only=True)
    assert best["epoch"] == 2


def test_best_val_with_real_results(cfg):
    cfg.TEST.FINAL_MODEL = "best_val"
    trainer = build_trainer(cfg)
    trainer.train()
    assert trainer.best_result == trainer.test(split="val") == 100.0


def test_no_test(cfg, capsys):
    cfg.TEST.NO_TEST = True
    build_trainer(cfg).train()
    printed = capsys.readouterr().out
    assert "Evaluate on" not in printed
    assert printed.index("Finish training") < printed.index("Elapsed: ")


def test_splits(cfg, capsys):
    trainer = build_trainer(cfg)
    cfg.TEST.SPLIT = "val"
    trainer.test()
    assert "Evaluate on the *val* set" in capsys.readouterr().out
    with pytest.raises(ValueError, match="there are test, val"):
        trainer.test(split="train")
    cfg.DATASET.SOURCE_DOMAINS = ("no-val",)
    with pytest.raises(ValueError, match="no val split"):
        build_trainer(cfg).test(split="val")
    cfg.TEST.FINAL_MODEL = "best_val"
    with pytest.raises(ValueError, match="best_val needs validation images"):
        build_trainer(cfg).train()


def test_no_bar_without_a_terminal(cfg, capfd):
    build_trainer(cfg).test()
    assert capfd.readouterr().err == ""


def test_nan_loss_stops_before_the_update(cfg):
    trainer = build_trainer(cfg)
    before = weights(trainer)
    for bad in (float("nan"), float("inf")):
        loss = trainer.model[2].weight.sum() * bad
        with pytest.raises(FloatingPointError, match="not finite"):
            trainer.model_backward_and_update(loss)
    assert_equal(weights(trainer), before)


def test_registered_models():
    trainer = TrainerBase()
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    trainer.register_model("frozen", nn.Linear(1, 1))
    trainer.register_model("head", model, optimizer)
    assert trainer.get_model_names() == ["frozen", "head"]
    assert trainer.get_model_names("head") == ["head"]
    assert trainer.get_current_lr() == 0.25
    trainer.update_lr()
    trainer.set_model_mode("eval", "head")
    assert (trainer._models["frozen"].training, model.training) == (True, False)
    with pytest.raises(ValueError, match="already registered"):
        trainer.register_model("head", model)
    with pytest.raises(ValueError, match="no model given"):
        trainer.register_model("empty")
    with pytest.raises(ValueError, match="no model called 'hed'; there are frozen, head"):
        trainer.get_model_names(["hed"])
    with pytest.raises(ValueError, match="not 'training'"):
        trainer.set_model_mode("training")


def test_only_named_models_are_updated():
    trainer = TrainerBase()
    models = {name: nn.Linear(1, 1, bias=False) for name in "ab"}
    for name, model in models.items():
        trainer.register_model(name, model, torch.optim.SGD(model.parameters(), lr=1.0))
    before = {name: model.weight.item() for name, model in models.items()}
    loss = models["a"].weight.sum() + models["b"].weight.sum()
    trainer.model_backward_and_update(loss, names="a")
    assert models["a"].weight.item() == pytest.approx(before["a"] - 1)
    assert models["b"].weight.item() == before["b"]


def test_what_a_plug_in_must_give(cfg):
    with pytest.raises(NotImplementedError):
        SimpleTrainer(cfg)
    cfg.TRAINER.NAME = "ColorTrainer"
    with pytest.raises(ValueError, match="did you mean 'ColourTrainer'"):
        build_trainer(cfg)


def test_k_transforms_reach_the_trainer_as_a_list(cfg):
    cfg.DATALOADER.K_TRANSFORMS = 2
    trainer = build_trainer(cfg)
    views, label, domain = trainer.parse_batch_train(next(iter(trainer.train_loader_x)))
    assert [view.shape for view in views] == [(6, 3, 8, 8)] * 2
    assert (label.shape, domain.tolist()) == ((6,), [0] * 6)


def test_trainer_of_the_readme(cfg):
    readme = Path(__file__).parents[2] / "toolkit" / "README.md"
    (code,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {})
    cfg.TRAINER.NAME = "LinearOnPixels"
    cfg.OPTIM.LR = 0.01
    trainer = build_trainer(cfg)
    trainer.train()
    assert trainer.test() == 100.0
