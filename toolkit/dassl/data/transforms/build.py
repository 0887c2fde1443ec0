"""Transforms from an RGB image to a tensor, as the configuration names them."""

from collections.abc import Sequence

from torchvision import transforms as tv
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode
from yacs.config import CfgNode

from dassl.data.transforms.cutout import Cutout
from dassl.data.transforms.types import Transform
from dassl.utils import check_availability

INTERPOLATION_MODES = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "nearest": InterpolationMode.NEAREST,
}


def build_transform(
    cfg: CfgNode, is_train: bool = True, choices: Sequence[str] | None = None
) -> Transform | None:
    """Return the transform of training or test images.

    The test transform resizes the smaller edge to the larger of `INPUT.SIZE`, crops the centre and
    normalises, whatever the choices. The training transform has the choices only, in the order of
    `_on_image` and `_on_tensor`; without one that crops, the image is first resized to
    `INPUT.SIZE`.

    Args:
        cfg: the configuration; its INPUT node is read.
        is_train: whether for training.
        choices: names of training transforms; `cfg.INPUT.TRANSFORMS` if None.

    Returns:
        A function from a PIL image to a float tensor [3, *INPUT.SIZE]; None with
        `INPUT.NO_TRANSFORM`.

    Raises:
        ValueError: a choice or the interpolation has no such name.
    """
    node = cfg.INPUT
    if node.NO_TRANSFORM:
        return None
    check_availability(node.INTERPOLATION, INTERPOLATION_MODES)
    steps = (
        _training(node, node.TRANSFORMS if choices is None else choices)
        if is_train
        else _test(node)
    )
    if cfg.VERBOSE:
        print(f"{'Training' if is_train else 'Test'} transform:")
        for step in steps:
            print(f"+ {step}")
    transform: Transform = tv.Compose(steps)
    return transform


def _test(node: CfgNode) -> list[Transform]:
    mode = INTERPOLATION_MODES[node.INTERPOLATION]
    return [
        tv.Resize(max(node.SIZE), interpolation=mode),
        tv.CenterCrop(node.SIZE),
        tv.ToTensor(),
        tv.Normalize(node.PIXEL_MEAN, node.PIXEL_STD),
    ]


def _training(node: CfgNode, choices: Sequence[str]) -> list[Transform]:
    on_image, on_tensor = _on_image(node), _on_tensor(node)
    for choice in choices:
        check_availability(choice, [*on_image, *on_tensor])
    mode = INTERPOLATION_MODES[node.INTERPOLATION]
    sizing = {"random_resized_crop", "random_crop", "random_translation"}
    first = [] if sizing & set(choices) else [tv.Resize(node.SIZE, interpolation=mode)]
    return [
        *first,
        *(step for name, step in on_image.items() if name in choices),
        tv.ToTensor(),
        *(step for name, step in on_tensor.items() if name in choices),
    ]


def _on_image(node: CfgNode) -> dict[str, Transform]:
    size = tuple(node.SIZE)
    mode = INTERPOLATION_MODES[node.INTERPOLATION]
    enlarged = tuple(round(edge * 1.125) for edge in size)
    return {
        "random_flip": tv.RandomHorizontalFlip(),
        "random_resized_crop": tv.RandomResizedCrop(
            size, scale=tuple(node.RRCROP_SCALE), interpolation=mode
        ),
        "random_crop": tv.RandomCrop(size, padding=node.CROP_PADDING, pad_if_needed=True),
        "random_translation": tv.RandomChoice(
            [
                tv.Resize(size, interpolation=mode),
                tv.Compose([tv.Resize(enlarged, interpolation=mode), tv.RandomCrop(size)]),
            ]
        ),
        "center_crop": tv.CenterCrop(size),
        "colorjitter": tv.ColorJitter(
            node.COLORJITTER_B, node.COLORJITTER_C, node.COLORJITTER_S, node.COLORJITTER_H
        ),
        "randomgrayscale": tv.RandomGrayscale(p=node.RGS_P),
        "gaussian_blur": tv.RandomApply([tv.GaussianBlur(node.GB_K)], p=node.GB_P),
        "randaugment": tv.RandAugment(node.RANDAUGMENT_N, node.RANDAUGMENT_M, interpolation=mode),
        "imagenet_policy": tv.AutoAugment(AutoAugmentPolicy.IMAGENET, interpolation=mode),
        "cifar10_policy": tv.AutoAugment(AutoAugmentPolicy.CIFAR10, interpolation=mode),
        "svhn_policy": tv.AutoAugment(AutoAugmentPolicy.SVHN, interpolation=mode),
    }


def _on_tensor(node: CfgNode) -> dict[str, Transform]:
    return {
        "normalize": tv.Normalize(node.PIXEL_MEAN, node.PIXEL_STD),
        "cutout": Cutout(node.CUTOUT_N, node.CUTOUT_LEN),
    }
