import errno
import os
import pickle
import resource

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import (
    load_checkpoint,
    load_pretrained_weights,
    resume_from_checkpoint,
    save_checkpoint,
)
from torch import nn


def parts(scheduler="cosine"):
    torch.manual_seed(0)
    cfg = get_cfg_default().OPTIM
    cfg.LR_SCHEDULER = scheduler
    cfg.STEPSIZE = (1, 3)
    cfg.WARMUP_EPOCH = 1
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model, cfg)
    return model, optimizer, build_lr_scheduler(optimizer, cfg)


def state(model, optimizer, scheduler, epoch=2, val_result=None):
    return {
        "state_dict": model.state_dict(),
        "epoch": epoch,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "val_result": val_result,
    }


def step(model, optimizer, scheduler):
    optimizer.zero_grad()
    model(torch.ones(1, 2)).pow(2).sum().backward()
    optimizer.step()
    scheduler.step()


@pytest.mark.parametrize("scheduler", ["cosine", "single_step", "multi_step"])
def test_resumed_training_is_the_same(tmp_path, scheduler):
    whole = parts(scheduler)
    for _ in range(2):
        step(*whole)
    save_checkpoint(state(*whole), tmp_path)
    resumed = parts(scheduler)
    assert resume_from_checkpoint(tmp_path, *resumed) == 2
    for _ in range(3):
        step(*whole)
        step(*resumed)
        assert torch.equal(whole[0].weight, resumed[0].weight)
        assert whole[1].param_groups[0]["lr"] == resumed[1].param_groups[0]["lr"]


def test_files_and_keys(tmp_path):
    save_checkpoint(state(*parts(), epoch=2), tmp_path / "head")
    save_checkpoint(state(*parts(), epoch=4), tmp_path / "head", is_best=True)
    assert sorted(path.name for path in (tmp_path / "head").iterdir()) == [
        "checkpoint",
        "model-best.pth.tar",
        "model.pth.tar-2",
        "model.pth.tar-4",
    ]
    assert (tmp_path / "head" / "checkpoint").read_text().strip() == "model.pth.tar-4"
    loaded = torch.load(tmp_path / "head" / "model-best.pth.tar", weights_only=True)
    assert set(loaded) == {"state_dict", "epoch", "optimizer", "scheduler", "val_result"}
    assert loaded["val_result"] is None


def test_numpy_scalars_become_numbers_and_objects_are_refused(tmp_path):
    save_checkpoint(state(*parts(), val_result=np.float64(61.5)), tmp_path)
    result = load_checkpoint(tmp_path / "model.pth.tar-2")["val_result"]
    assert (type(result), result) == (float, 61.5)
    with pytest.raises(TypeError, match=r"^checkpoint\.scheduler\.main is a Linear"):
        save_checkpoint({"epoch": 3, "scheduler": {"main": nn.Linear(1, 1)}}, tmp_path)
    assert (tmp_path / "checkpoint").read_text().strip() == "model.pth.tar-2"
    assert not (tmp_path / "model.pth.tar-3").exists()


def test_unreadable_checkpoints(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "gone")
    (tmp_path / "damaged").write_bytes(b"half a file")
    torch.save({"scheduler": parts()[0]}, tmp_path / "pickled")
    (tmp_path / "other").write_bytes(pickle.dumps(object(), protocol=2))
    (tmp_path / "empty").touch()
    save_checkpoint(state(*parts()), tmp_path)
    whole = (tmp_path / "model.pth.tar-2").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    for name in ("damaged", "pickled", "other", "empty", "cut"):
        with pytest.raises(ValueError, match="is damaged or holds more than tensors") as caught:
            load_checkpoint(tmp_path / name)
        assert "\n" not in str(caught.value)
    torch.save(torch.ones(2), tmp_path / "tensor")
    with pytest.raises(ValueError, match="holds a Tensor, no checkpoint"):
        load_checkpoint(tmp_path / "tensor")


def test_resume_needs_the_states_it_is_asked_for(tmp_path):
    model, optimizer, _ = parts()
    with pytest.raises(FileNotFoundError, match="nothing to resume from"):
        resume_from_checkpoint(tmp_path, model)
    save_checkpoint({"state_dict": model.state_dict(), "epoch": 1}, tmp_path)
    assert resume_from_checkpoint(tmp_path, model) == 1
    with pytest.raises(ValueError, match="has no optimizer state"):
        resume_from_checkpoint(tmp_path, model, optimizer)


def test_pretrained_weights_that_fit(tmp_path):
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    weights = {
        "module.weight": source.weight.detach(),
        "bias": torch.zeros(5),
        "other": torch.zeros(1),
    }
    torch.save({"state_dict": weights}, tmp_path / "w.pt")
    bias = target.bias.detach().clone()
    with pytest.warns(UserWarning, match="2 of 3 weights .* left out: bias, other"):
        load_pretrained_weights(target, tmp_path / "w.pt")
    assert torch.equal(target.weight, source.weight)
    assert torch.equal(target.bias, bias)


def test_full_disk_is_an_oserror_and_the_old_checkpoint_stays(tmp_path):
    state = {"state_dict": {"w": torch.ones(50_000)}, "epoch": 1}
    save_checkpoint(state, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            save_checkpoint({**state, "state_dict": {"w": torch.zeros(50_000)}}, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
