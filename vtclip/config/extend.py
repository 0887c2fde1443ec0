"""The keys of this project and of the registered methods, added to Dassl's defaults."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

from vtclip.config.keys import PROJECT_KEYS
from vtclip.errors import end_as_a_command_does
from vtclip.method import registered_methods


def extend_cfg(cfg: CfgNode) -> None:
    """Add the keys of this project and of every registered method; existing keys stay.

    Call it at the end of CoOp's own `extend_cfg`, after the trainers are imported and before the
    log is begun. From then on that command line ends as those of this project do (see
    :func:`vtclip.errors.end_as_a_command_does`).
    """
    end_as_a_command_does()
    for key, option in PROJECT_KEYS.items():
        _add(cfg, key, option.default)
    for method in registered_methods().values():
        for name, option in method.OPTIONS.items():
            _add(cfg, f"TRAINER.{method.option_node()}.{name}", option.default)


def _add(cfg: CfgNode, key: str, default: Any) -> None:
    *parents, last = key.split(".")
    node = cfg
    for parent in parents:
        if parent not in node:
            node[parent] = CfgNode()
        node = node[parent]
    if last not in node:
        node[last] = default
