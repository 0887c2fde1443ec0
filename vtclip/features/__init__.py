"""Remember what a frozen backbone said about a list of images.

    encoding = Encoding(backbone, transform, transform_key="...", tokens="joint")
    source = image_features(paths, encoding, cache=FeatureStore())
    loader = FeatureLoader([source], labels, batch_size=32, shuffle=True, drop_last=True)

Names are imported when they are first used, so that the command line starts without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtclip.features.encoding import Encoding, encode_batch, resolve_precision
    from vtclip.features.extract import image_features
    from vtclip.features.loader import FeatureLoader
    from vtclip.features.on_the_fly import OnTheFlyFeatures, OnTheFlyViews
    from vtclip.features.source import Features, FeatureSource, MemoryFeatures
    from vtclip.features.store import FeatureStore

_HOMES = {
    "Encoding": "encoding",
    "FeatureLoader": "loader",
    "FeatureSource": "source",
    "FeatureStore": "store",
    "Features": "source",
    "OnTheFlyFeatures": "on_the_fly",
    "OnTheFlyViews": "on_the_fly",
    "MemoryFeatures": "source",
    "encode_batch": "encoding",
    "image_features": "extract",
    "resolve_precision": "encoding",
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
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
