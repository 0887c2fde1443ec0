"""What other authors' programs need to run on a CPU with current packages, and nothing else.

`NEEDS` lists it in words, for the page. Programs themselves are never changed.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

NEEDS = (
    "tensors and models stay on the CPU (`cuda()`, `to('cuda')`), in fp32 (`half()`, `float16`)",
    "a count of one number is an array without dimensions, as `float` of current NumPy asks for",
    "schedulers of the learning rate take no `verbose`, which PyTorch no longer has",
    "weights are a local file in the place of a download",
    "with `tiny`, crops of its image size in the place of 224 pixels, and CLIP-Adapter's width",
    "CALIP's images and class names are those of the case in the place of ImageNet's",
    "pandas and wilds, where they are not installed, are empty: LP++ writes no table",
)


@contextmanager
def on_cpu() -> Iterator[None]:
    """Leave tensors and models where they are that a program sends to CUDA, and in fp32."""
    to, to_numpy, schedule = Tensor.to, Tensor.numpy, LRScheduler.__init__

    def moved(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return x if args == ("cuda",) else to(x, *args, **kwargs)

    def array(x: Tensor, **kwargs: Any) -> Any:
        return to_numpy(x[0] if x.shape == (1,) else x, **kwargs)

    def quiet(x: LRScheduler, optimizer: Any, last_epoch: int = -1, *_: Any) -> None:
        schedule(x, optimizer, last_epoch)

    with ExitStack() as stack:
        for owner, name, stand_in in (
            (Tensor, "to", moved),
            (Tensor, "cuda", lambda x, *_, **__: x),
            (Tensor, "half", lambda x, *_, **__: x.float()),
            (Tensor, "numpy", array),
            (nn.Module, "cuda", lambda x, *_, **__: x),
            (torch, "float16", torch.float32),
            # Dassl hands over `verbose`, which PyTorch no longer has
            (LRScheduler, "__init__", quiet),
        ):
            stack.enter_context(mock.patch.object(owner, name, stand_in))
        yield


def crops_of(size: int) -> None:
    """Make random crops of `size` pixels, whatever a program asks for."""
    from torchvision import transforms

    class RandomResizedCrop(transforms.RandomResizedCrop):
        def __init__(self, *_: Any, **kwargs: Any) -> None:
            super().__init__(**{**kwargs, "size": size})

    transforms.RandomResizedCrop = RandomResizedCrop


def local_weights(path: str) -> None:
    """Take the weights of every published model from a file."""
    from clip import clip

    clip._MODELS.update(dict.fromkeys(clip._MODELS, path))
    clip._download = lambda url, *_, **__: url


def imagenet_of(images: Sequence[tuple[str, int]], classes: Sequence[str]) -> None:
    """Put a list of images (path, label) and its classes in the place of ImageNet's.

    Args:
        images: in the order of evaluation.
        classes: names, by label.
    """
    import class_template
    import torchvision
    from PIL import Image

    class Listed(torch.utils.data.Dataset[tuple[Any, int]]):
        def __init__(self, *_: Any, transform: Any, **__: Any) -> None:
            self.transform = transform

        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, number: int) -> tuple[Any, int]:
            path, label = images[number]
            return self.transform(Image.open(path)), label

    class_template.CLASS_NAME["imagenet"] = list(classes)
    class_template.TEMPLATE["imagenet"] = ["a photo of a {}."]
    torchvision.datasets.ImageNet = Listed


class NoTable:
    """What a program takes of a table of pandas: it is empty, and is written nowhere."""

    @classmethod
    def from_records(cls, _: Any) -> NoTable:
        """Return an empty table."""
        return cls()

    def to_dict(self, _: str) -> list[Any]:
        """Return no rows."""
        return []

    def to_csv(self, *_: Any, **__: Any) -> None:
        """Write nothing."""


STAND_INS = {
    "pandas": {"read_csv": lambda _: NoTable(), "DataFrame": NoTable, "Series": NoTable},
    "wilds": {"get_dataset": None},
}


def stand_in_for(name: str) -> None:
    """Put a module in the place of one of `STAND_INS`, where that is not installed."""
    if importlib.util.find_spec(name) is None:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(STAND_INS[name])
        sys.modules[name] = module
