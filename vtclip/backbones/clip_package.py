"""What the `clip` package has, without what it imports; take it from here alone.

The package itself imports torchvision, which takes as long as torch, and pkg_resources, which
setuptools 82 no longer has. Its model and its vocabulary, modules of their own, need neither.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

__all__ = ["CLIP", "SimpleTokenizer", "build_model", "tokenize"]


def _module(name: str) -> ModuleType:
    """Return a module of the package, loaded by its file.

    Raises:
        ModuleNotFoundError: the package is not installed, or is another one of that name.
    """
    package = find_spec("clip")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder, f"{name}.py")
        if path.is_file():
            found = spec_from_file_location(f"{__name__}.{name}", path)
            assert found is not None and found.loader is not None
            module = module_from_spec(found)
            sys.modules[found.name] = module
            found.loader.exec_module(module)
            return module
    raise ModuleNotFoundError(f"No module named 'clip.{name}'", name=f"clip.{name}")


if TYPE_CHECKING:
    from clip.model import CLIP, build_model
    from clip.simple_tokenizer import SimpleTokenizer
else:
    _model = _module("model")
    CLIP, build_model = _model.CLIP, _model.build_model
    SimpleTokenizer = _module("simple_tokenizer").SimpleTokenizer

_tokenizer = lru_cache(maxsize=1)(SimpleTokenizer)


def tokenize(
    texts: str | Sequence[str], context_length: int = 77, truncate: bool = False
) -> Tensor:
    """Return the tokens of texts [n, context_length], int64, zero after the end token.

    Args:
        texts: one, or n.
        context_length: tokens of a row, the first and the end token among them.
        truncate: cut what is longer, and keep the end token.

    Raises:
        RuntimeError: a text is longer, and `truncate` is False.
    """
    tokenizer = _tokenizer()
    start, end = (tokenizer.encoder[f"<|{name}oftext|>"] for name in ("start", "end"))
    rows = [texts] if isinstance(texts, str) else texts
    result = torch.zeros(len(rows), context_length, dtype=torch.int64)
    for row, text in zip(result, rows, strict=True):
        tokens = [start, *tokenizer.encode(text), end]
        if len(tokens) > context_length:
            if not truncate:
                raise RuntimeError(f"{len(tokens)} tokens, of at most {context_length}: {text}")
            tokens = [*tokens[: context_length - 1], end]
        row[: len(tokens)] = torch.tensor(tokens)
    return result
