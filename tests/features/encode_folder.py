"""The work of a separate process in the tests: encode a folder through the cache."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Literal

import torch

from vtclip.errors import run_command
from vtclip.features import Encoding, FeatureStore, image_features, stored

from .stub import StubBackbone, plain_transform

Mishap = Literal["killed", "slow", "worker killed", "limited", "unprivileged"]
NOBODY = 65534
# in one process a list of images is encoded once
backbone_calls: list[None] = []


def run(folder: Path, root: Path, mishap: Mishap | None, output: Path) -> None:
    """Write to `output` how many images were encoded and the digest of their features.

    Mishaps: kill -9 in the middle of the second shard; slow, to be killed from outside; no file
    can be larger than 1000 bytes; no right to write what is read-only.
    """
    torch.set_num_threads(1)
    # the workers of a killed parent notice that it is gone only where they are its own children
    multiprocessing.set_start_method("fork", force=True)
    with (
        output.open("w", buffering=1) as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        code = run_command(lambda: _encode(folder, root, mishap))
    sys.exit(code)


def _encode(folder: Path, root: Path, mishap: Mishap | None) -> None:
    backbone = StubBackbone()
    stored.SHARD_BYTES = 1  # one shard per batch
    if mishap == "killed":
        _kill_at_fsync(3)  # the description, a shard, a shard
    elif mishap == "slow":
        backbone.first.register_forward_pre_hook(lambda *_: time.sleep(0.3))
    elif mishap == "worker killed":
        backbone.first.register_forward_pre_hook(_kill_a_worker)
    elif mishap == "limited":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    elif mishap == "unprivileged" and os.geteuid() == 0:
        # the library of the interpreter may be in a folder of root
        codecs.lookup("utf-8-sig")
        os.setuid(NOBODY)
    source = image_features(
        sorted(folder.iterdir()),
        Encoding(backbone, plain_transform, "plain"),
        cache=FeatureStore(root),
        batch_size=4,
        # a worker hands over images in files, which are limited too
        workers=0 if mishap in ("limited", "unprivileged") else 1,
    )
    features = source.fetch(torch.arange(len(source)))
    assert features.spatial_features is not None
    digest = hashlib.sha256()
    for tensor in (features.global_features, features.spatial_features):
        digest.update(tensor.numpy().tobytes())
    print(backbone.encoded, digest.hexdigest())


def _kill_a_worker(*_: object) -> None:
    """Kill the worker process as soon as one batch has been encoded, and one image for the size."""
    backbone_calls.append(None)
    if len(backbone_calls) == 3:
        for worker in multiprocessing.active_children():
            os.kill(worker.pid or 0, signal.SIGKILL)
        # torch's signal handler runs meanwhile
        time.sleep(1)


def _kill_at_fsync(count: int) -> None:
    real = os.fsync
    calls = iter(range(1, count + 1))

    def fsync(handle: int) -> None:
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = fsync  # type: ignore[assignment]
