"""A layer that is built and never attached would not move; without weight decay only its gradient
moves a parameter.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vtclip.engine import FrozenCLIPTrainer

TRAINED = ["CLAP", "CLIPAdapter", "CoOp", "P0", "RLA", "TaskRes", "TipAdapterF", "VTCLIP", "ZSLP"]
# the bias of the keys adds the same to all scores of a query, which a softmax ignores
WITHOUT_EFFECT = "k_proj.bias"


@pytest.mark.parametrize("method", TRAINED)
def test_training_moves_every_parameter(
    method: str, run_train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: dict[str, torch.Tensor] = {}
    after: dict[str, torch.Tensor] = {}
    before_epoch, after_train = FrozenCLIPTrainer.before_epoch, FrozenCLIPTrainer.after_train

    def remember(trainer: FrozenCLIPTrainer) -> None:
        before_epoch(trainer)
        if not before:
            before.update({n: p.detach().clone() for n, p in trainer.head.named_parameters()})

    def compare(trainer: FrozenCLIPTrainer) -> None:
        after.update({n: p.detach().clone() for n, p in trainer.head.named_parameters()})
        after_train(trainer)

    monkeypatch.setattr(FrozenCLIPTrainer, "before_epoch", remember)
    monkeypatch.setattr(FrozenCLIPTrainer, "after_train", compare)
    options = ("DATASET.NUM_SHOTS", "2", "OPTIM.MAX_EPOCH", "4", "FEATURES.VIEWS", "1")
    options += ("OPTIM.WEIGHT_DECAY", "0.0", "DATALOADER.TRAIN_X.BATCH_SIZE", "10")
    assert run_train("--trainer", method, "--output-dir", str(tmp_path), *options) == 0
    assert before
    still = {name for name in before if before[name].equal(after[name])}
    assert all(name.endswith(WITHOUT_EFFECT) for name in still)
