"""Compute the features of a list of images once, and keep them in memory or on disk.

    encoding = Encoding(backbone, transform, transform_key="...", tokens="joint")
    source = image_features(paths, encoding, cache=FeatureStore())
    loader = FeatureLoader([source], labels, batch_size=32, shuffle=True, drop_last=True)

Names are imported at their first use, so that the command line starts without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtclip.features.encoding import Encoding, encode_batch, resolve_precision
    from vtclip.features.extract import image_features
    from vtclip.features.loader import FeatureLoader
    from vtclip.features.on_the_fly import OnTheFlyFeatures, OnTheFlyViews
    from vtclip.features.source import FeatureSource, MemoryFeatures
    from vtclip.features.store import FeatureStore
    from vtclip.image_features import Features

_HOMES = {
    "Encoding": "vtclip.features.encoding",
    "FeatureLoader": "vtclip.features.loader",
    "FeatureSource": "vtclip.features.source",
    "FeatureStore": "vtclip.features.store",
    "Features": "vtclip.image_features",
    "OnTheFlyFeatures": "vtclip.features.on_the_fly",
    "OnTheFlyViews": "vtclip.features.on_the_fly",
    "MemoryFeatures": "vtclip.features.source",
    "encode_batch": "vtclip.features.encoding",
    "image_features": "vtclip.features.extract",
    "resolve_precision": "vtclip.features.encoding",
}

__all__ = [
    "Encoding",
    "FeatureLoader",
    "FeatureSource",
    "FeatureStore",
    "Features",
    "MemoryFeatures",
    "OnTheFlyFeatures",
    "OnTheFlyViews",
    "encode_batch",
    "image_features",
    "resolve_precision",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
