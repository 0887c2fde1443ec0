"""The names that the help of a training lists below its arguments, each kind with an example."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from vtclip.checkout import CONFIGS
from vtclip.commands.calls import how_to_call


def names_and_examples(plugins: Sequence[str] = ()) -> str:
    """Return the registered methods and backbones, and the datasets with a configuration.

    Args:
        plugins: modules of the user; only to learn what these register is anything imported.

    Raises:
        UserError: a plug-in cannot be imported.
    """
    methods, backbones = _with_plugins(plugins) if plugins else _without_plugins()
    datasets = sorted(path.stem for path in (CONFIGS / "datasets").glob("*.yaml"))
    call = how_to_call("train")
    parts = (
        _part("methods", methods, f"{call} --trainer TipAdapterF --shots 4"),
        _part(
            "backbones",
            backbones,
            f"{call} --backbone RN50",
        ),
        _part(
            "datasets",
            datasets,
            f"{call} --root data --dataset-config-file oxford_pets",
        ),
    )
    return "\n\n".join(parts)


def _without_plugins() -> tuple[list[str], list[str]]:
    from vtclip.registrations import backbones_in_source, methods_in_source

    return methods_in_source(), backbones_in_source()


def _with_plugins(plugins: Sequence[str]) -> tuple[list[str], list[str]]:
    from vtclip.backbones import available_backbones, available_families
    from vtclip.method import registered_methods
    from vtclip.plugins import import_modules

    import_modules(["trainers", "datasets"], plugins)
    return [*registered_methods()], [*available_backbones(), *available_families()]


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
