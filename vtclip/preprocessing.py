"""The preprocessing of images: the backbone's own, unless a user sets another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from dassl.config import get_cfg_default
from dassl.data import transforms
from PIL import Image
from torch import Tensor
from yacs.config import CfgNode

from vtclip.backbones import Backbone
from vtclip.errors import UserError
from vtclip.screen import say

Transform = Callable[[Image.Image], Tensor]


def resolve_preprocessing(cfg: CfgNode, backbone: Backbone) -> CfgNode:
    """Return the configuration with the preprocessing of the backbone in its INPUT node.

    A value that a user set stays, and one line says that it is not the backbone's. As set by a
    user counts what INPUT.SET_BY_USER names, and what differs from Dassl's default (in a CoOp fork,
    whose command line does not fill that key in).

    Raises:
        UserError: the size is not the one that the backbone takes.
    """
    own: dict[str, Any] = {
        "SIZE": (backbone.image_size, backbone.image_size),
        "INTERPOLATION": backbone.interpolation,
        "PIXEL_MEAN": list(backbone.mean),
        "PIXEL_STD": list(backbone.std),
    }
    default = get_cfg_default().INPUT
    resolved = cfg.clone()
    resolved.defrost()
    for key, value in own.items():
        given = cfg.INPUT[key]
        if key not in cfg.INPUT.SET_BY_USER and list(given) == list(default[key]):
            resolved.INPUT[key] = value
        elif list(given) != list(value):
            if key == "SIZE" and max(given) != backbone.image_size:
                raise UserError(
                    f"INPUT.SIZE: {tuple(given)}, but backbone {backbone.name} takes images of "
                    f"{backbone.image_size} pixels; leave INPUT.SIZE out."
                )
            say(
                f"INPUT.{key}: {given} as configured, where backbone {backbone.name} was made for "
                f"{value}"
            )
    if "normalize" not in cfg.INPUT.TRANSFORMS:
        say(
            "INPUT.TRANSFORMS: without normalize, so images are not normalised as backbone "
            f"{backbone.name} needs"
        )
    resolved.freeze()
    return resolved


def transform_of(cfg: CfgNode, *, is_train: bool) -> Transform:
    """Return Dassl's transform of the INPUT node."""
    return cast(Transform, transforms.build_transform(cfg, is_train=is_train))


def describe_transform(cfg: CfgNode, *, is_train: bool) -> str:
    """Describe what Dassl makes of the INPUT node, for the key of cached features."""
    node = cfg.INPUT
    if is_train:
        # a list of which keys were set by whom changes nothing of the images
        values = sorted((key, value) for key, value in node.items() if key != "SET_BY_USER")
        return f"train, crop before flip, {values}"
    normalised = "normalize" in node.TRANSFORMS
    shown = (node.SIZE, node.INTERPOLATION, node.PIXEL_MEAN, node.PIXEL_STD, node.NO_TRANSFORM)
    instance_norm = " instance_norm" if "instance_norm" in node.TRANSFORMS else ""
    return f"test {shown} normalize={normalised}{instance_norm}"
