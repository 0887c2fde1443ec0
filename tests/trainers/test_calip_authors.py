"""CALIP's own program beside ours, where VTCLIP_CALIP names a checkout of ZiyuGuo99/CALIP.

It takes features of images from its cache. ImageNet, CLIP's text encoder and CUDA are replaced, and
so is its count of correct images: there the logits are noted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.authors.shims import on_cpu
from tests.backbones.test_openai_clip import images_for, make_clip
from vtclip.backbones.openai_clip import OpenAIBackbone
from vtclip.features import Features
from vtclip.methods.calip import calip_logits

from .conftest import Build, checkout, module_of

STEPS = 200


class Prompts(list[str]):
    """Prompts in the place of their tokens."""

    def cuda(self) -> Prompts:
        return self


@pytest.fixture(scope="module")
def folder() -> Path:
    return checkout("VTCLIP_CALIP", "ZiyuGuo99/CALIP", "run_imagenet.py")


def scores_of_authors(
    folder: Path, trainer: Any, features: Features, labels: Tensor
) -> list[Tensor]:
    """Run their program in the working folder; returns the logits [N, K] of each of its accuracies.

    The first are zero-shot CLIP's, the others those of b2 and b3, b3 in the inner loop.
    """
    tokens = torch.cat([features.global_features[:, None], features.spatial_features], dim=1)
    for kind, cached in (("total_features", F.normalize(tokens, dim=-1)), ("label", labels)):
        Path("cache", kind, "tiny").mkdir(parents=True)
        torch.save(cached, Path("cache", kind, "tiny", "imagenet.pt"))
    model = SimpleNamespace(
        eval=lambda: None, encode_text=trainer.provider.encoding.backbone.encode_text
    )
    images = SimpleNamespace(ImageNet=lambda *_, **__: [0])
    replaced = {
        "clip": {"available_models": list, "load": lambda _: (model, None), "tokenize": Prompts},
        "class_template": {
            "TEMPLATE": {"imagenet": trainer.templates},
            "CLASS_NAME": {"imagenet": trainer.classnames},
        },
        "torchvision": {"datasets": images},
    }
    noted: list[Tensor] = []
    with pytest.MonkeyPatch.context() as patch, on_cpu():
        for name, values in replaced.items():
            module = ModuleType(name)
            vars(module).update(values)
            patch.setitem(sys.modules, name, module)
        patch.setitem(sys.modules, "utils", module_of(folder / "utils.py"))
        program = module_of(folder / "run_imagenet.py")

        def accuracy(logits: Tensor, labels: Tensor, n: int) -> tuple[float, None]:
            noted.append(logits)
            return 100 * float((logits.argmax(dim=1) == labels).sum()) / n, None

        patch.setattr(program, "accuracy", accuracy)
        settings = {"backbone": "tiny", "dataset": "imagenet", "data_root": ""}
        program.main({**settings, "load_cache": True, "search": True, "beta2": 2.0, "beta3": 0.1})
    return noted


# it makes a loader of eight workers that it does not use
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_same_logits_of_all_weights(
    folder: Path, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ("--trainer", "CALIP", "--output-dir", str(tmp_path / "run"), "--shots", "4")
    trainer = build([*named, "TRAINER.PROMPT", "ensemble"])
    features, labels = trainer.features("val")
    monkeypatch.chdir(tmp_path)
    theirs = scores_of_authors(folder, trainer, features, labels)
    assert len(theirs) == 1 + STEPS**2

    ours = trainer.compare(features)
    b2, b3 = ([step * (top - 0.001) / STEPS + 0.001 for step in range(STEPS)] for top in (2.0, 0.1))
    torch.testing.assert_close(100 * ours.plain, theirs[0], atol=1e-4, rtol=0)
    for number in range(0, STEPS**2, 777):
        expected = calip_logits(ours, 100.0, b2[number // STEPS], b3[number % STEPS])
        torch.testing.assert_close(expected, theirs[1 + number], atol=2e-4, rtol=0)


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_same_features_of_all_locations(kind: str, folder: Path) -> None:
    weights = make_clip(kind).state_dict()
    theirs = module_of(folder / "clip" / "model.py").build_model(weights).float().eval()
    ours = OpenAIBackbone("random", theirs.state_dict())
    images = images_for(ours)
    with torch.no_grad():
        tokens = theirs.encode_image(images).permute(1, 0, 2)
        features = ours.encode_image(images, "joint")
    torch.testing.assert_close(features.global_features, tokens[:, 0], atol=1e-5, rtol=1e-5)
    assert features.spatial_features is not None
    torch.testing.assert_close(features.spatial_features, tokens[:, 1:], atol=1e-5, rtol=1e-5)
