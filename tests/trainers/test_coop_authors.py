"""CoOp's own program beside ours, where VTCLIP_COOP names a checkout of KaiyangZhou/CoOp."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

from tests.backbones.test_openai_clip import make_clip
from vtclip.backbones.clip_package import build_model
from vtclip.features import Features

from .conftest import Build, module_of


@pytest.fixture(scope="module")
def authors(coop_checkout: Path) -> ModuleType:
    return module_of(coop_checkout / "trainers" / "coop.py")


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A CLIP of random weights as CLIP's builder makes it, in fp32, and the file of its weights."""
    model = build_model(make_clip("vit").state_dict()).float()
    file = tmp_path_factory.mktemp("clip") / "small.pt"
    torch.save(model.state_dict(), file)
    return model, file


@pytest.mark.parametrize("csc", [False, True])
@pytest.mark.parametrize("words", ["", "a_photo_of_a", "a photo of a teeshirt"])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_same_prompts_features_logits_and_gradient(
    position: str,
    words: str,
    csc: bool,
    authors: ModuleType,
    small_clip: tuple[nn.Module, Path],
    build: Build,
    tmp_path: Path,
) -> None:
    model, file = small_clip
    node = {"N_CTX": 5, "CSC": csc, "CTX_INIT": words, "CLASS_TOKEN_POSITION": position}
    pairs = [text for key, value in node.items() for text in (f"TRAINER.COOP.{key}", str(value))]
    flags = ("--trainer", "CoOp", "--backbone", str(file), "--output-dir", str(tmp_path))
    ours = build([*flags, "FEATURES.CACHE", "False", "DATASET.NUM_SHOTS", "1", *pairs])
    cfg = CfgNode({"TRAINER": {"COOP": node}, "INPUT": {"SIZE": (32, 32)}})
    theirs = authors.CustomCLIP(cfg, ours.classnames, model)

    assert ours.head.ctx.shape == theirs.prompt_learner.ctx.shape
    if words:
        assert ours.head.ctx.equal(theirs.prompt_learner.ctx)
    # random vectors are drawn from generators in other states
    ours.head.ctx.data.copy_(theirs.prompt_learner.ctx.data)
    prompts = ours.head()
    assert prompts.equal(theirs.prompt_learner()[:, : prompts.shape[1]])
    texts = theirs.text_encoder(theirs.prompt_learner(), theirs.tokenized_prompts)
    torch.testing.assert_close(ours.encode_prompts(), texts, atol=1e-5, rtol=1e-5)

    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 3, 3, 9])
    with torch.no_grad():
        features = Features(ours.backbone.encode_image(images, None).global_features, None)
    loss, logits = ours.loss(features, labels)
    expected = theirs(images)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)
    gradient = of_context(loss, ours.head.ctx)
    torch.testing.assert_close(
        gradient,
        of_context(F.cross_entropy(expected, labels), theirs.prompt_learner.ctx),
        atol=1e-5 * float(gradient.abs().max()),
        rtol=1e-4,
    )


def of_context(loss: Tensor, context: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, context)
    return gradient
