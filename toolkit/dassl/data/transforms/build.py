"""Transforms from an RGB image to a tensor, as the configuration names them."""

import math
from collections.abc import Sequence

from torchvision import transforms as tv
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode
from yacs.config import CfgNode

from dassl.data.transforms.on_tensor import Cutout, GaussianNoise, InstanceNormalization
from dassl.data.transforms.translation import RandomTranslation
from dassl.data.transforms.types import Transform
from dassl.utils import check_availability
from dassl.utils.checks import check_number, check_sequence, check_whole

INTERPOLATION_MODES = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "nearest": InterpolationMode.NEAREST,
}


# Accepted in Dassl's configurations, of no effect in training: the test transform has it anyway.
WITHOUT_EFFECT = ("center_crop",)


def build_transform(
    cfg: CfgNode, is_train: bool = True, choices: Sequence[str] | None = None
) -> Transform | None:
    """Return the transform of training or test images.

    The test transform resizes the smaller edge to the larger of `INPUT.SIZE` and crops the centre;
    of the choices it has those that normalise. The training transform has all choices, in the order
    of `_on_image` and `_on_tensor` whatever their own; without one that crops, the image is first
    resized to `INPUT.SIZE`. Order and random draws are those of Dassl.pytorch.

    Args:
        cfg: the configuration; its INPUT node is read.
        is_train: whether for training.
        choices: names of transforms; `cfg.INPUT.TRANSFORMS` if None.

    Returns:
        A function from a PIL image to a float tensor [3, *INPUT.SIZE]; None with
        `INPUT.NO_TRANSFORM`.

    Raises:
        ValueError: an unknown name, or a number out of range; one line that begins with the key.
    """
    node = cfg.INPUT
    if node.NO_TRANSFORM:
        return None
    check_availability(node.INTERPOLATION, INTERPOLATION_MODES, "INPUT.INTERPOLATION")
    names = node.TRANSFORMS if choices is None else choices
    check_sequence(names, "INPUT.TRANSFORMS")
    _check_numbers(node)
    on_image, on_tensor = _on_image(node), _on_tensor(node)
    for name in names:
        check_availability(name, [*on_image, *WITHOUT_EFFECT, *on_tensor], "INPUT.TRANSFORMS")
    if not is_train:
        on_image = {}
        on_tensor = {name: on_tensor[name] for name in ("normalize", "instance_norm")}
    steps = [
        *_sizing(node, is_train, names),
        *(step for name, step in on_image.items() if name in names),
        tv.ToTensor(),
        *(step for name, step in on_tensor.items() if name in names),
    ]
    if cfg.VERBOSE:
        print(f"{'Training' if is_train else 'Test'} transform:")
        for step in steps:
            print(f"+ {step}")
    transform: Transform = tv.Compose(steps)
    return transform


def _check_numbers(node: CfgNode) -> None:
    """Check every number of the INPUT node, as all transforms are built from them."""
    check_sequence(node.SIZE, "INPUT.SIZE", 2)
    for edge in node.SIZE:
        check_whole(edge, "INPUT.SIZE", low=1)
    check_sequence(node.RRCROP_SCALE, "INPUT.RRCROP_SCALE", 2)
    smallest, largest = node.RRCROP_SCALE
    check_number(largest, "INPUT.RRCROP_SCALE", high=1.0)
    check_number(smallest, "INPUT.RRCROP_SCALE", high=largest)
    for key in ("PIXEL_MEAN", "PIXEL_STD"):
        check_sequence(node[key], f"INPUT.{key}", 3)
        for value in node[key]:
            check_number(value, f"INPUT.{key}", low=-math.inf)
    if 0 in node.PIXEL_STD:
        raise ValueError(f"INPUT.PIXEL_STD: must not hold 0, and is {node.PIXEL_STD!r}")
    for key in ("CROP_PADDING", "RANDAUGMENT_N", "CUTOUT_N", "CUTOUT_LEN"):
        check_whole(node[key], f"INPUT.{key}")
    check_whole(node.RANDAUGMENT_M, "INPUT.RANDAUGMENT_M", high=30)
    check_whole(node.GB_K, "INPUT.GB_K", low=1)
    if node.GB_K % 2 == 0:
        raise ValueError(f"INPUT.GB_K: must be odd, not {node.GB_K}")
    for key in ("COLORJITTER_B", "COLORJITTER_C", "COLORJITTER_S", "GN_STD"):
        check_number(node[key], f"INPUT.{key}")
    check_number(node.COLORJITTER_H, "INPUT.COLORJITTER_H", high=0.5)
    check_number(node.GN_MEAN, "INPUT.GN_MEAN", low=-math.inf)
    for key in ("RGS_P", "GB_P"):
        check_number(node[key], f"INPUT.{key}", high=1.0)


def _sizing(node: CfgNode, is_train: bool, names: Sequence[str]) -> list[Transform]:
    mode = INTERPOLATION_MODES[node.INTERPOLATION]
    if not is_train:
        return [tv.Resize(max(node.SIZE), interpolation=mode), tv.CenterCrop(node.SIZE)]
    if "random_crop" in names or "random_resized_crop" in names:
        return []
    return [tv.Resize(node.SIZE, interpolation=mode)]


def _on_image(node: CfgNode) -> dict[str, Transform]:
    size = tuple(node.SIZE)
    mode = INTERPOLATION_MODES[node.INTERPOLATION]
    return {
        "random_translation": RandomTranslation(*size),
        "random_crop": tv.RandomCrop(size, padding=node.CROP_PADDING, pad_if_needed=True),
        "random_resized_crop": tv.RandomResizedCrop(
            size, scale=tuple(node.RRCROP_SCALE), interpolation=mode
        ),
        "random_flip": tv.RandomHorizontalFlip(),
        "imagenet_policy": tv.AutoAugment(AutoAugmentPolicy.IMAGENET, interpolation=mode),
        "cifar10_policy": tv.AutoAugment(AutoAugmentPolicy.CIFAR10, interpolation=mode),
        "svhn_policy": tv.AutoAugment(AutoAugmentPolicy.SVHN, interpolation=mode),
        "randaugment": tv.RandAugment(node.RANDAUGMENT_N, node.RANDAUGMENT_M, interpolation=mode),
        "colorjitter": tv.ColorJitter(
            node.COLORJITTER_B, node.COLORJITTER_C, node.COLORJITTER_S, node.COLORJITTER_H
        ),
        "randomgrayscale": tv.RandomGrayscale(p=node.RGS_P),
        "gaussian_blur": tv.RandomApply([tv.GaussianBlur(node.GB_K)], p=node.GB_P),
    }


def _on_tensor(node: CfgNode) -> dict[str, Transform]:
    return {
        "cutout": Cutout(node.CUTOUT_N, node.CUTOUT_LEN),
        "normalize": tv.Normalize(node.PIXEL_MEAN, node.PIXEL_STD),
        "gaussian_noise": GaussianNoise(node.GN_MEAN, node.GN_STD),
        "instance_norm": InstanceNormalization(),
    }
