"""The names that `train.py --help` lists below its arguments, each kind with an example."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path


def names_and_examples(configs: Path) -> str:
    """Return the registered methods and backbones, and the datasets with a configuration.

    Args:
        configs: the folder of configurations.
    """
    from vtclip.backbones import available_backbones, available_families
    from vtclip.method import registered_methods

    datasets = sorted(path.stem for path in (configs / "datasets").glob("*.yaml"))
    own = "configs/datasets"
    parts = (
        _part("methods", registered_methods(), "python train.py --trainer TipAdapterF --shots 4"),
        _part(
            "backbones",
            [*available_backbones(), *available_families()],
            "python train.py --backbone RN50",
        ),
        _part(
            f"datasets, in {own}",
            datasets,
            f"python train.py --root data --dataset-config-file {own}/oxford_pets.yaml",
        ),
    )
    return "\n\n".join(parts)


def _part(kind: str, names: Iterable[str], example: str) -> str:
    indent = "  "
    listed = textwrap.fill(
        ", ".join(names),
        80,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{kind}:\n{listed}\n{indent}example: {example}"
