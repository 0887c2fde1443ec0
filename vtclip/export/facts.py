"""What a user of an exported run needs to know beside its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from vtclip import __version__
from vtclip.backbones import has_files_of_its_own, published_name
from vtclip.saved_model import SavedModel


def preprocessing_of(model: SavedModel) -> dict[str, Any] | None:
    """Return how an image becomes pixels [3, H, W], in the order of the steps.

    Returns:
        "resize_shorter_side" and "crop_centre" [H, W] in pixels, "interpolation", "mean" and "std"
        per channel (red, green, blue from 0 to 1; None where the run did not normalise). None for a
        run on a file of features, whose images are not known.
    """
    if not model.from_images:
        return None
    config = model.config
    size, transforms = list(config["INPUT.SIZE"]), config["INPUT.TRANSFORMS"]
    normalises = "normalize" in transforms
    return {
        "mode": "RGB",
        "resize_shorter_side": max(size),
        "interpolation": config["INPUT.INTERPOLATION"],
        "crop_centre": size,
        "mean": list(config["INPUT.PIXEL_MEAN"]) if normalises else None,
        "std": list(config["INPUT.PIXEL_STD"]) if normalises else None,
        "instance_norm": "instance_norm" in transforms,
    }


def metadata_of(model: SavedModel) -> dict[str, str]:
    """Return the metadata of an ONNX file; lists and objects are JSON."""
    return {
        "method": model.trainer,
        "classnames": _json(model.classnames),
        "templates": _json(model.templates),
        "backbone": backbone_of(model),
        "backbone_fingerprint": model.backbone_fingerprint,
        "preprocessing": _json(preprocessing_of(model)),
        "vtclip": __version__,
    }


def has_weights_of_its_own(model: SavedModel) -> bool:
    """Tell whether the backbone is a file of weights, which no name finds elsewhere."""
    return model.from_images and has_files_of_its_own(model.backbone)


def backbone_of(model: SavedModel) -> str:
    """Return the name of the backbone; of a file of weights without its folder."""
    if has_weights_of_its_own(model):
        return published_name(model.backbone)
    return str(without_folder(model.backbone))


def without_folder(value: Any) -> Any:
    """Return the name of a file in place of its absolute path, anything else as it is.

    What is published names no folder of its author.

    >>> without_folder("/home/somebody/weights.pt"), without_folder("ViT-B/32"), without_folder(3)
    ('weights.pt', 'ViT-B/32', 3)
    """
    if isinstance(value, str) and (PurePath(value).is_absolute() or value.startswith("~")):
        return PurePath(value).name
    return value


def without_folders(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return named values, each :func:`without_folder`."""
    return {name: without_folder(value) for name, value in values.items()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
