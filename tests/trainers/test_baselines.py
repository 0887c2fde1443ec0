"""Every method through the registry: what it starts from, trains, saves, chooses and refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.clip_adapter import CLIPAdapter
from trainers.tip_adapter import AUTHORS_ALPHA
from vtclip import checkpoints
from vtclip.backbones.base import fingerprint_of
from vtclip.backbones.clip_package import tokenize
from vtclip.errors import UserError
from vtclip.features import Features
from vtclip.method import registered_methods
from vtclip.methods.coop import PromptLearner
from vtclip.results import read_result
from vtclip.tables.names import BENCHMARK

from .bank import write_bank
from .conftest import Arguments, Build

SEARCHES = {
    "TipAdapter": {"alpha", "beta"},
    "TipAdapterF": {"alpha", "beta"},
    "CLIPAdapter": {"ratio"},
    "LinearProbe": {"C"},
    "CALIP": {"b2", "b3"},
    "GDA": {"alpha"},
    "LPPlusPlus": {"epoch"},
    "P0": {"candidate", "rate", "lam"},
    "VTCLIP": {"clip_logit_weight"},
    "VTCLIPPlus": {"beta", "lam", "proker_share"},
}
TRAINED = ["TipAdapterF", "CLIPAdapter", "VTCLIP", "RLA", "P0", "TaskRes", "ZSLP", "CLAP"]
FITTED = ["TipAdapter", "LinearProbe", "GDA", "LPPlusPlus", "VTCLIPPlus"]
WEIGHT = ("TRAINER.VTCLIP.SEARCH_WEIGHT", "True", "TRAINER.CLIPADAPTER.SEARCH_RATIO", "True")


def saved(folder: Path) -> dict[str, Tensor]:
    path = folder / ("fitted" if (folder / "fitted").is_dir() else "head")
    return checkpoints.load(checkpoints.find(path, None))["state_dict"] if path.is_dir() else {}


@pytest.mark.parametrize("trainer", SEARCHES)
def test_test_labels_change_no_choice(
    trainer: str, run_train, on_bank: Arguments, tmp_path: Path
) -> None:
    results = []
    for name in ("plain", "shuffled"):
        file = write_bank(tmp_path / f"{name}.npz", shuffled_test=name == "shuffled")
        arguments = on_bank(trainer, tmp_path / name, *WEIGHT, file=file)
        assert run_train(*arguments, "TEST.FINAL_MODEL", "best_val") == 0
        results.append(read_result(tmp_path / name / "result.json"))
    plain, shuffled = results
    assert plain.accuracy > shuffled.accuracy + 30
    assert plain.search is not None
    assert plain.search.chosen.keys() == plain.search.grid.keys() == SEARCHES[trainer]
    assert plain.search == shuffled.search
    assert plain.search.split == plain.selected_on == "val"
    first, second = saved(tmp_path / "plain"), saved(tmp_path / "shuffled")
    assert bool(first) == (trainer in (*TRAINED, *FITTED))
    assert all(first[key].equal(second[key]) for key in first | second)


@pytest.mark.parametrize("trainer", sorted({*SEARCHES, *TRAINED, "ZeroshotCLIP"}))
def test_evaluation_gives_the_same_accuracy(
    trainer: str, run_train, on_bank: Arguments, tmp_path: Path
) -> None:
    assert run_train(*on_bank(trainer, tmp_path / "run", *WEIGHT)) == 0
    flags = ("--eval-only", f"--model-dir={tmp_path / 'run'}")
    assert run_train(*on_bank(trainer, tmp_path / "again", *flags, *WEIGHT)) == 0
    first, again = (read_result(tmp_path / name / "result.json") for name in ("run", "again"))
    assert (first.correct, first.search) == (again.correct, again.search)
    if trainer in TRAINED:
        assert first.trainable_parameters == sum_of(tmp_path)
    assert (first.evaluated, bool(again.evaluated)) == ("", True)


def sum_of(folder: Path) -> int:
    values = saved(folder / "run")
    # not trained: labels of a cache, the basis of P0, the texts that TaskRes adds to
    fixed = ("labels", "basis", "texts")
    return sum(p.numel() for key, p in values.items() if key not in fixed)


@pytest.mark.parametrize("trainer", TRAINED)
def test_training_moves_what_is_trained_and_nothing_else(
    trainer: str, build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    built = build(on_bank(trainer, tmp_path))
    texts = built.text_features.clone()
    trained = {name for name, p in built.head.named_parameters() if p.requires_grad}
    before = {name: value.clone() for name, value in built.head.state_dict().items()}
    built.train()
    assert trained
    for name, value in built.head.state_dict().items():
        assert value.equal(before[name]) == (name not in trained), name
    assert built.text_features.equal(texts)


def test_tip_adapter_f_starts_as_tip_adapter(
    build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    free = build(on_bank("TipAdapter", tmp_path / "free"))
    trained = build(on_bank("TipAdapterF", tmp_path / "trained"))
    features, _ = trained.features("val")
    assert free.head is None
    free.fitted = free.fit()
    assert trained.logits(features).equal(free.logits(features))
    keys, labels = trained.cache()
    affinity = F.normalize(features.global_features, dim=-1) @ keys.T
    values = F.one_hot(labels, 6).float()
    zero_shot = 20 * F.normalize(features.global_features, dim=-1) @ trained.text_features.T
    by_formula = zero_shot + 1.17 * torch.exp(-(1 - affinity)) @ values
    torch.testing.assert_close(trained.logits(features), by_formula)


def batches_of_training(built: Any) -> list[tuple[Tensor, Tensor]]:
    """Train, and return the global features and labels of each step."""
    seen = []
    parse = built.parse_batch_train

    def parse_and_note(batch: Any) -> Any:
        features, labels = parse(batch)
        if torch.is_grad_enabled():
            seen.append((features.global_features, labels))
        return features, labels

    built.parse_batch_train = parse_and_note
    built.train()
    return seen


def test_tip_adapter_f_takes_the_authors_steps(
    build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    # 24 images: a full batch of 16 and one of 8, which the authors keep
    built = build(on_bank("TipAdapterF", tmp_path, "DATALOADER.TRAIN_X.BATCH_SIZE", "16"))
    keys, labels = built.cache()
    values = F.one_hot(labels, 6).float()
    replayed = nn.Linear(*reversed(keys.shape), bias=False)
    replayed.weight.data = keys.detach().clone()
    steps = batches_of_training(built)
    assert [len(y) for _, y in steps] == [16, 8] * 6
    optimizer = torch.optim.AdamW(replayed.parameters(), lr=1e-3, eps=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(steps))
    for features, y in steps:
        g = features / features.norm(dim=-1, keepdim=True)
        logits = 20 * g @ built.text_features.T + 1.17 * (replayed(g) - 1).exp() @ values
        optimizer.zero_grad()
        F.cross_entropy(logits, y).backward()
        optimizer.step()
        scheduler.step()
    torch.testing.assert_close(built.cache()[0], replayed.weight, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("dataset", "alpha"), [("OxfordFlowers", 10.0), ("DescribableTextures", 2.0), ("Digits", 1.17)]
)
def test_alpha_in_training_is_the_authors_for_the_dataset(
    dataset: str, alpha: float, build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    built = build(on_bank("TipAdapterF", tmp_path))
    built.cfg = built.cfg.clone()
    built.cfg.defrost()
    built.cfg.DATASET.NAME = dataset
    assert built.first_alpha() == alpha
    own = build(on_bank("TipAdapterF", tmp_path / "own", "TRAINER.TIPADAPTERF.ALPHA", "0.5"))
    assert own.first_alpha() == 0.5


@pytest.mark.parametrize("trainer", ["TipAdapter", "TipAdapterF"])
def test_no_alpha_between_the_authors_and_zero(
    trainer: str, run_train, on_bank: Arguments, tmp_path: Path, capsys
) -> None:
    alpha = f"TRAINER.{trainer.upper()}.ALPHA"
    assert run_train(*on_bank(trainer, tmp_path, alpha, "-0.5")) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].endswith(f"{alpha}: -0.5 is negative; only -1 may be, the authors' value.")
    assert not (tmp_path / "result.json").exists()


def test_alphas_of_the_authors_are_of_the_benchmark() -> None:
    assert AUTHORS_ALPHA.keys() == BENCHMARK.keys()


@pytest.mark.parametrize("keeps", [False, True])
def test_a_method_says_whether_the_last_batch_is_dropped(
    keeps: bool, build: Build, on_bank: Arguments, tmp_path: Path, monkeypatch
) -> None:
    # 24 images in batches of 9
    assert CLIPAdapter.drop_last  # as CoOp
    if keeps:
        monkeypatch.setattr(CLIPAdapter, "drop_last", False)
    built = build(on_bank("CLIPAdapter", tmp_path, "DATALOADER.TRAIN_X.BATCH_SIZE", "9"))
    steps = batches_of_training(built)
    assert [len(y) for _, y in steps] == ([9, 9, 6] if keeps else [9, 9]) * 6


def test_clip_adapter_takes_coops_steps(build: Build, on_bank: Arguments, tmp_path: Path) -> None:
    built = build(on_bank("CLIPAdapter", tmp_path))
    down, up = (
        m.weight.detach().clone().requires_grad_() for m in (built.head.down, built.head.up)
    )
    steps = batches_of_training(built)
    assert len(steps) == 6 * 3
    optimizer = torch.optim.SGD([down, up], lr=2e-3, momentum=0.9, weight_decay=5e-4)
    for number, (g, y) in enumerate(steps):
        epoch = number // 3
        # one epoch of warm-up at 1e-5, then a cosine over all epochs
        rate = 1e-5 if epoch == 0 else 2e-3 * (1 + math.cos(math.pi * (epoch - 1) / 6)) / 2
        optimizer.param_groups[0]["lr"] = rate
        adapted = ((g @ down.T).relu() @ up.T).relu()
        mixed = F.normalize(0.2 * adapted + 0.8 * g, dim=-1)
        optimizer.zero_grad()
        F.cross_entropy(20 * mixed @ built.text_features.T, y).backward()
        optimizer.step()
    torch.testing.assert_close(built.head.down.weight, down, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(built.head.up.weight, up, atol=1e-6, rtol=1e-5)
    assert built.search_result is None


def test_clip_adapter_follows_its_formula(build: Build, on_bank: Arguments, tmp_path: Path) -> None:
    built = build(on_bank("CLIPAdapter", tmp_path, "TRAINER.CLIPADAPTER.RATIO", "0.3"))
    features, _ = built.features("val")
    g = features.global_features
    assert tuple(built.head.down.weight.shape) == (4, 16)
    hidden = (g @ built.head.down.weight.T).clamp(min=0)
    mixed = 0.3 * (hidden @ built.head.up.weight.T).clamp(min=0) + 0.7 * g
    expected = 20 * F.normalize(mixed, dim=-1) @ built.text_features.T
    torch.testing.assert_close(built.logits(features), expected)


@pytest.mark.parametrize(
    "trainer",
    [
        "TipAdapter",
        "TipAdapterF",
        "LinearProbe",
        "TaskRes",
        "CLAP",
        "LPPlusPlus",
        "VTCLIPPlus",
    ],
)
def test_a_method_tied_to_its_classes_refuses_others(
    trainer: str, run_train, on_bank: Arguments, tmp_path: Path, capsys
) -> None:
    base = ("DATASET.SUBSAMPLE_CLASSES", "base")
    assert run_train(*on_bank(trainer, tmp_path / "base", *base)) == 0
    flags = ("--eval-only", f"--model-dir={tmp_path / 'base'}", "TRAINER.TRANSFER", "True")
    new = ("DATASET.SUBSAMPLE_CLASSES", "new")
    assert run_train(*on_bank(trainer, tmp_path / "new", *flags, *new)) == 2
    assert "TRAINER.TRANSFER" in capsys.readouterr().err
    assert not (tmp_path / "new" / "result.json").exists()


@pytest.mark.parametrize("trainer", ["CLIPAdapter", "CALIP", "VTCLIP"])
def test_new_classes_are_met_with_what_base_classes_chose(
    trainer: str, run_train, on_bank: Arguments, tmp_path: Path, capsys
) -> None:
    base = ("DATASET.SUBSAMPLE_CLASSES", "base", *WEIGHT)
    assert run_train(*on_bank(trainer, tmp_path / "base", *base)) == 0
    flags = ("--eval-only", f"--model-dir={tmp_path / 'base'}", "TRAINER.TRANSFER", "True")
    new = ("DATASET.SUBSAMPLE_CLASSES", "new", *WEIGHT)
    assert run_train(*on_bank(trainer, tmp_path / "new", *flags, *new)) == 0
    results = [read_result(tmp_path / name / "result.json") for name in ("base", "new")]
    assert results[0].search == results[1].search
    assert [result.classes for result in results] == ["base", "new"]
    said = capsys.readouterr().out.count("attend to each other")
    assert said == (trainer == "VTCLIP")
    # without the result there is nothing to take the choice from
    (tmp_path / "base" / "result.json").unlink()
    assert run_train(*on_bank(trainer, tmp_path / "new", *flags, *new)) == 2
    assert "finish its run first" in capsys.readouterr().err


@pytest.mark.parametrize("trainer", FITTED)
def test_an_evaluation_loads_what_was_fitted(
    trainer: str, run_train, on_bank: Arguments, tmp_path: Path, monkeypatch
) -> None:
    assert run_train(*on_bank(trainer, tmp_path / "run")) == 0
    monkeypatch.setattr(registered_methods()[trainer], "fit", None)
    # other few-shot lists, from which nothing is fitted again
    flags = ("--eval-only", f"--model-dir={tmp_path / 'run'}", "--seed=2")
    assert run_train(*on_bank(trainer, tmp_path / "again", *flags)) == 0
    first, again = (read_result(tmp_path / name / "result.json") for name in ("run", "again"))
    assert (first.correct, first.search) == (again.correct, again.search)


def test_no_validation_images(run_train, tmp_path: Path, bank: Path, capsys, on_bank) -> None:
    import numpy as np

    arrays = dict(np.load(bank))
    del arrays["val_x"], arrays["val_y"], arrays["val_spatial"]
    np.savez(tmp_path / "small.npz", **arrays)
    arguments = on_bank("TipAdapter", tmp_path, file=tmp_path / "small.npz")
    # all training images are drawn, so that none is left for validation
    assert run_train(*arguments, "DATASET.NUM_SHOTS", "-1") == 2
    assert "has no val images" in capsys.readouterr().err


def test_the_test_list_is_never_trained_on(
    build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    built = build(on_bank("CLIPAdapter", tmp_path))
    built.facts.items["train"] = []
    with pytest.raises(UserError, match="has no train images"):
        built.train()
    with pytest.raises(UserError, match="has no train images"):
        built.train_views(1)


# ---- CoOp, which needs a text encoder

COOP = (
    "--trainer",
    "CoOp",
    "DATASET.NUM_SHOTS",
    "1",
    "OPTIM.MAX_EPOCH",
    "2",
    "FEATURES.VIEWS",
    "1",
)


def coop(folder: Path, *options: str) -> list[str]:
    return [*COOP[:2], "--output-dir", str(folder), *COOP[2:], *options]


@pytest.mark.parametrize(
    ("position", "template"),
    [("end", "a photo of a {}."), ("middle", "a photo {} of a."), ("front", "{} a photo of a.")],
)
@pytest.mark.parametrize("csc", ["False", "True"])
def test_coop_starts_from_the_prompt_of_its_words(
    position: str, template: str, csc: str, build: Build, tmp_path: Path
) -> None:
    options = ("CLASS_TOKEN_POSITION", position, "CTX_INIT", "a_photo_of_a", "CSC", csc)
    pairs = [f"TRAINER.COOP.{o}" if o.isupper() else o for o in options]
    built = build(coop(tmp_path, *pairs, "DATASET.TEMPLATE", template))
    # CoOp has no context per class that starts from words
    assert built.head.ctx.shape[:-1] == (4,)
    texts = F.normalize(built.encode_prompts(), dim=-1)
    torch.testing.assert_close(texts, built.text_features, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("csc", ["False", "True"])
def test_coop_takes_as_many_tokens_as_there_are_words(
    csc: str, build: Build, tmp_path: Path, capsys
) -> None:
    # five words and six tokens: "teeshirt" is none of the vocabulary; N_CTX does not count
    options = ("CTX_INIT", "a_photo_of_a_teeshirt", "CSC", csc, "N_CTX", "7")
    pairs = [f"TRAINER.COOP.{o}" if o.isupper() else o for o in options]
    built = build(coop(tmp_path, *pairs))
    assert ("no effect beside CTX_INIT" in capsys.readouterr().out) == (csc == "True")
    prompts = [f"a photo of a teeshirt {name.replace('_', ' ')}." for name in built.classnames]
    ids = tokenize(prompts)
    assert int(tokenize("a photo of a teeshirt").argmax()) == 7
    embeddings = built.backbone.token_embedding(ids)
    assert built.head.ctx.equal(embeddings[0, 1:6])
    assert built.head().equal(embeddings[:, : built.head().shape[1]])
    assert built.ends.equal(ids.argmax(dim=1))


def test_coop_draws_a_context_for_each_class(build: Build, tmp_path: Path) -> None:
    built = build(coop(tmp_path, "TRAINER.COOP.CSC", "True", "TRAINER.COOP.N_CTX", "8"))
    context = built.head.ctx.detach()
    assert context.shape[:-1] == (10, 8)
    assert float(context.mean()) == pytest.approx(0, abs=2e-3)
    assert float(context.std()) == pytest.approx(0.02, rel=0.05)
    # independent draws: far apart, as two vectors of a common deviation are
    apart = torch.pdist(context.flatten(1))
    expected = 0.02 * (2 * context[0].numel()) ** 0.5
    assert float(apart.min()) > 0.8 * expected


def test_coop_refuses_words_without_words(run_train, tmp_path: Path, capsys) -> None:
    assert run_train(*coop(tmp_path, "TRAINER.COOP.CTX_INIT", "_")) == 2
    assert "TRAINER.COOP.CTX_INIT: '_' has no words" in capsys.readouterr().err


def test_coop_trains_its_context_alone(build: Build, tmp_path: Path) -> None:
    built = build(coop(tmp_path, "TRAINER.COOP.N_CTX", "3"))
    assert isinstance(built.head, PromptLearner)
    assert [name for name, _ in built.head.named_parameters()] == ["ctx"]
    before = built.head.ctx.clone()
    built.train()
    moved = (built.head.ctx != before).any(dim=1)
    assert moved.tolist() == [True] * 3
    backbone = built.backbone
    assert fingerprint_of(build(coop(tmp_path / "b")).backbone.state_dict()) == fingerprint_of(
        backbone.state_dict()
    )
    # evaluation encodes the prompts once, and encodes the trained ones
    features = Features(torch.randn(2, backbone.embed_dim), None)
    built.set_model_mode("eval")
    evaluated = built.logits(features)
    built.set_model_mode("train")
    torch.testing.assert_close(built.logits(features), evaluated)


def test_coop_saves_and_goes_on_to_other_classes(run_train, tmp_path: Path, capsys) -> None:
    base = ("DATASET.SUBSAMPLE_CLASSES", "base")
    assert run_train(*coop(tmp_path / "run", *base)) == 0
    assert list(saved(tmp_path / "run")) == ["ctx"]
    flags = ("--eval-only", "--model-dir", str(tmp_path / "run"))
    assert run_train(*flags, *coop(tmp_path / "again", *base)) == 0
    first, again = (read_result(tmp_path / name / "result.json") for name in ("run", "again"))
    assert first.correct == again.correct
    new = ("DATASET.SUBSAMPLE_CLASSES", "new", "TRAINER.TRANSFER", "True")
    assert run_train(*flags, *coop(tmp_path / "new", *new)) == 0
    assert read_result(tmp_path / "new" / "result.json").classes == "new"
    csc = (*new, "TRAINER.COOP.CSC", "True")
    assert run_train(*flags, *coop(tmp_path / "csc", *csc)) == 2
    assert "one context for each class" in capsys.readouterr().err


def test_coop_goes_on_to_other_classes_from_words(run_train, tmp_path: Path) -> None:
    shared = ("TRAINER.COOP.CSC", "True", "TRAINER.COOP.CTX_INIT", "a_photo_of_a")
    assert run_train(*coop(tmp_path / "run", "DATASET.SUBSAMPLE_CLASSES", "base", *shared)) == 0
    flags = ("--eval-only", "--model-dir", str(tmp_path / "run"))
    new = ("DATASET.SUBSAMPLE_CLASSES", "new", "TRAINER.TRANSFER", "True")
    assert run_train(*flags, *coop(tmp_path / "new", *new, *shared)) == 0


def test_coop_needs_a_text_encoder_and_room_in_it(
    run_train, on_bank: Arguments, tmp_path: Path, capsys
) -> None:
    assert run_train(*on_bank("CoOp", tmp_path)) == 2
    assert "no text encoder" in capsys.readouterr().err
    assert run_train(*coop(tmp_path, "TRAINER.COOP.N_CTX", "90")) == 2
    assert "longer than" in capsys.readouterr().err


def test_result_files_say_what_was_searched(run_train, on_bank: Arguments, tmp_path: Path) -> None:
    assert run_train(*on_bank("CALIP", tmp_path)) == 0
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["search"]["split"] == content["selected_on"] == "val"
    assert 0.0 in content["search"]["grid"]["b2"]
    assert content["trainable_parameters"] == 0
