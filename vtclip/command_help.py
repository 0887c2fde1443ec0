"""The names that the help of a training lists below its arguments, each kind with an example."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from vtclip.checkout import CONFIGS
from vtclip.commands.calls import how_to_call


def names_and_examples() -> str:
    """Return the registered methods and backbones, and the datasets with a configuration."""
    from vtclip.backbones import available_backbones, available_families
    from vtclip.method import registered_methods

    datasets = sorted(path.stem for path in (CONFIGS / "datasets").glob("*.yaml"))
    call = how_to_call("train")
    parts = (
        _part("methods", registered_methods(), f"{call} --trainer TipAdapterF --shots 4"),
        _part(
            "backbones",
            [*available_backbones(), *available_families()],
            f"{call} --backbone RN50",
        ),
        _part(
            "datasets",
            datasets,
            f"{call} --root data --dataset-config-file oxford_pets",
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
