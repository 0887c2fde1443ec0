"""Image files to transformed tensors, read ahead in worker processes."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vtclip.errors import UserError
from vtclip.features.encoding import Encoding
from vtclip.features.keys import unreadable
from vtclip.features.pixels import decode_image
from vtclip.files import require_file


@contextmanager
def seeded(content_digest: bytes, view: int) -> Iterator[None]:
    """Make random transforms a function of the content of the image and the number of the view.

    The generators of Python, NumPy and torch (on the CPU) are restored when the block ends.
    """
    mixed = hashlib.sha256(content_digest + str(view).encode()).digest()
    seed = int.from_bytes(mixed[:8], "little")
    python_state, numpy_state = random.getstate(), np.random.get_state()
    torch_state = torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # torch.manual_seed would touch the generators of all devices
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)


class LostWorkers(UserError):
    """A process that reads images was killed."""


@contextmanager
def lost_workers_in_one_line() -> Iterator[None]:
    """Turn the error of torch for a worker process that was killed into one line.

    torch raises it from a signal handler, so also while other code of this process runs.

    Raises:
        LostWorkers: a worker process ended before its work.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        reason = str(error).strip(" .")
        raise LostWorkers(
            f"a process that reads images ended early ({reason}); if the memory was full, set "
            "DATALOADER.NUM_WORKERS lower; start again, and the features on disk are kept."
        ) from error


class ImageFiles(Dataset[Tensor | UserError]):
    """Transformed images of a list of files.

    An item is a tensor [3, H, W], or an error that :func:`image_batches` raises: raised in a worker
    process, it would come with the traceback of the worker.

    Args:
        paths: the files.
        encoding: its transform and view are used.
        content_keys: SHA-256 that the bytes of each file must have, or None.
    """

    def __init__(
        self, paths: Sequence[Path], encoding: Encoding, content_keys: Sequence[bytes] | None = None
    ) -> None:
        self._paths = paths
        self._content_keys = content_keys
        self._transform = encoding.transform
        self._view = encoding.view

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._paths)

    def __getitem__(self, row: int) -> Tensor | UserError:
        """Read, decode and transform one file."""
        path = self._paths[row]
        try:
            require_file(path)
            content = path.read_bytes()
            image = decode_image(content, path)
        except OSError as error:
            return unreadable(path, error)
        except UserError as error:
            return error
        digest = hashlib.sha256(content).digest()
        if self._content_keys is not None and digest != self._content_keys[row]:
            return UserError(f"{path}: changed while its features were computed; start again.")
        if self._view is None:
            return self._transform(image)
        with seeded(digest, self._view):
            return self._transform(image)


def image_batches(
    files: ImageFiles, batches: Sequence[Sequence[int]], *, workers: int, pin_memory: bool
) -> Iterator[Tensor]:
    """Yield image tensors [B, 3, H, W] of batches of rows.

    Args:
        files: the images.
        batches: rows of each batch.
        workers: processes that read ahead; 0 reads in this one.
        pin_memory: copy batches to pinned memory, for a fast copy to a GPU.

    Raises:
        UserError: an image cannot be read, or a worker process was killed.
    """
    loader = DataLoader(
        files,
        batch_sampler=batches,  # type: ignore[arg-type]  # any iterable of lists does
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin_memory,
        # not the global one: a run draws the same numbers whether its features were cached or not
        generator=torch.Generator(),
    )
    with lost_workers_in_one_line():
        for batch in loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch


def readable_batches(
    files: ImageFiles, batch_size: int, *, workers: int
) -> Iterator[list[Tensor | UserError]]:
    """Yield the images in batches, each a tensor [3, H, W] or the reason why it cannot be read.

    Args:
        files: the images.
        batch_size: images per batch.
        workers: processes that read ahead; 0 reads in this one.

    Raises:
        UserError: a worker process was killed.
    """
    loader = DataLoader(files, batch_size, num_workers=workers, collate_fn=list)
    with lost_workers_in_one_line():
        yield from loader


def _collate(items: Sequence[Tensor | UserError]) -> Tensor | UserError:
    tensors = []
    for item in items:
        if isinstance(item, UserError):
            return item
        tensors.append(item)
    return torch.stack(tensors)
