"""What a finished run computes stays on its device; the `meta` device has shapes and no numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vtclip.predictor import load_predictor
from vtclip.registrations import methods_in_source

OPTIONS = ("DATASET.NUM_SHOTS", "2", "OPTIM.MAX_EPOCH", "1", "FEATURES.VIEWS", "1")

# a head that is built from the numbers of the texts is built first, and moved then
HEAD_FROM_NUMBERS = ("CoOp", "P0")


@pytest.mark.parametrize("method", methods_in_source())
def test_logits_are_where_the_features_are(method: str, run_train, tmp_path: Path) -> None:
    assert run_train("--trainer", method, "--output-dir", str(tmp_path), *OPTIONS) == 0
    predictor = load_predictor(tmp_path, device="cpu")
    trainer, backbone = predictor.trainer, predictor.backbone
    pixels = torch.rand(3, 3, backbone.image_size, backbone.image_size)
    with torch.no_grad():
        features = backbone.encode_image(pixels, trainer.tokens() or "joint")
        assert trainer.logits(features).isfinite().all()
        # the provider has its scale from a number on the CPU, so the backbone moves after it
        backbone.to("meta")
        device = torch.device("meta")
        if method in HEAD_FROM_NUMBERS:
            trainer.device, trainer.head = device, trainer.head.to(device)
            trainer.text_features = trainer.text_features.to(device)
        else:
            arguments = (predictor.model, trainer.cfg, trainer.provider, device)
            trainer = type(trainer).restored(*arguments)
        logits = trainer.logits(features.to(device))
    assert (logits.shape, logits.device.type) == ((3, 10), "meta")
