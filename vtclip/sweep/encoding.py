"""The features that the runs of a dataset share, computed before the runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from vtclip.errors import UserError
from vtclip.features import FeatureSource
from vtclip.features.keys import image_keys
from vtclip.features.on_the_fly import OnTheFlyFeatures
from vtclip.features.stored import ShardWriter, StoredFeatures
from vtclip.image_features import Features
from vtclip.screen import taken_over

# what is lost where a process is killed, and what it holds in memory, in images
AT_ONCE = 1024


def encode(
    plan_of: Callable[[Any], Any], runs: Sequence[Any], part: tuple[int, int] = (0, 1)
) -> dict[str, float]:
    """Encode the images of runs into the feature cache: the test, and few-shot lists as they are.

    Augmented views are left to the runs, since only they know which they use; the cache keeps them
    as well. A run that is refused is passed over, since it says so itself.

    Args:
        plan_of: from arguments of train.py to a :class:`vtclip.run_config.RunPlan`.
        runs: the parsed arguments of each.
        part: (i, n): the i-th of n parts of each list, from 0; other processes encode the others.

    Returns:
        "images" of the lists, how many of them were "encoded" since the cache lacked them, in how
        many "encode_seconds", and S and D of their features: "tokens" and "width".
    """
    from dassl.engine import build_trainer
    from dassl.utils import set_random_seed

    from vtclip.plugins import import_modules

    total = dict.fromkeys(("images", "encoded", "encode_seconds"), 0.0)
    sizes: Mapping[str, int] = {}
    for arguments in runs:
        import_modules(["trainers", "datasets"], arguments.plugin)
        with suppress(UserError), taken_over():
            cfg, _ = plan_of(arguments).run(arguments.seed, several=False)
            if cfg.SEED >= 0:
                set_random_seed(cfg.SEED)
            trainer: Any = build_trainer(cfg)
            splits = ("train", "val", "test") if trainer.uses_shots else ("test",)
            for split in splits:
                if count := len(trainer.facts.items[split]):
                    rows = part_of(count, trainer.provider.batch_size, *part)
                    lacking = lacking_in_cache(trainer.provider, split, rows)
                    started = time.perf_counter()
                    features = encode_part(trainer.provider, split, rows, whole=part[1] == 1)
                    if lacking:
                        total["encode_seconds"] += time.perf_counter() - started
                    total["encoded"] += lacking
                    total["images"] += len(rows)
                    sizes = sizes_of(features) or sizes
    return {**total, **sizes}


def part_of(images: int, batch_size: int, index: int, count: int) -> range:
    """Return the rows of the index-th of count parts of a list, which together are all of it.

    A part is of whole batches, so that every image is encoded in the batch in which one process
    would encode it: a CPU's last digit depends on the size of the batch.

    >>> [part_of(10, 4, index, 2) for index in range(2)]
    [range(0, 4), range(4, 10)]
    """
    batches = -(-images // batch_size)
    first, last = (batches * i // count * batch_size for i in (index, index + 1))
    return range(min(first, images), min(last, images))


def encode_part(provider: Any, split: str, rows: range, whole: bool) -> FeatureSource | None:
    """Encode some images of a list into the cache.

    Args:
        provider: a :class:`vtclip.feature_provider.ImageProvider`.
        split: the list.
        rows: of it, whole batches.
        whole: no other process encodes another part, so that the cache may be locked meanwhile.

    Returns:
        Their features, None where there are no rows or no cache to put them into.
    """
    if whole:
        source: FeatureSource = provider.split(split)
        return source
    if not rows or provider.store is None:
        return None
    paths = [provider.paths[split][row] for row in rows]
    keys = image_keys(paths, provider.key)
    encoding = provider.encoding
    entry = provider.store.entry(encoding.describe(), backbone=encoding.backbone.name)
    step = max(1, AT_ONCE // provider.batch_size) * provider.batch_size
    for first in range(0, len(paths), step):
        own = slice(first, first + step)
        add_missing(entry, keys[own], paths[own], provider)
    return StoredFeatures(entry, keys, encoding.tokens)


def lacking_in_cache(provider: Any, split: str, rows: range) -> int:
    """Return how many images of a list are not in the cache, all of them where there is none."""
    if not rows or provider.store is None:
        return len(rows)
    keys = image_keys([provider.paths[split][row] for row in rows], provider.key)
    encoding = provider.encoding
    entry = provider.store.entry(encoding.describe(), backbone=encoding.backbone.name)
    return len(StoredFeatures(entry, keys, encoding.tokens).missing)


def add_missing(entry: Any, keys: Any, paths: Sequence[Path], provider: Any) -> None:
    """Encode the images that an entry of the cache lacks; lock it only to write them."""
    tokens = provider.encoding.tokens
    missing = StoredFeatures(entry, keys, tokens).missing
    if not missing:
        return
    images = OnTheFlyFeatures(
        [paths[row] for row in missing],
        provider.encoding,
        provider.batch_size,
        provider.workers,
        [keys[row] for row in missing] if provider.key == "content" else None,
    )
    batches = torch.split(torch.arange(len(images)), provider.batch_size)
    dtype = images.encoding.dtype
    features = Features.cat([one.to("cpu", dtype) for one in images.stream(batches)])
    with entry.writing():
        # another sweep may have written some of them
        still = set(StoredFeatures(entry, keys, tokens).missing)
        rows = [row for row, image in enumerate(missing) if image in still]
        if rows:
            writer = ShardWriter(entry, tokens)
            writer.add([keys[missing[row]] for row in rows], features[torch.tensor(rows)])
            writer.flush()


def sizes_of(source: FeatureSource | None) -> dict[str, int]:
    """Return S and D of features, where they have both."""
    one = source.fetch(torch.tensor([0])) if source is not None and len(source) else None
    if one is None or one.spatial_features is None:
        return {}
    return {"tokens": one.spatial_features.shape[1], "width": one.global_features.shape[1]}
