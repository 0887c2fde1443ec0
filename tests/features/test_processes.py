"""The cache between processes, and after the worst that can happen to one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vtclip.features import FeatureStore
from vtclip.features.store import CacheEntry

from . import encode_folder
from .stub import write_images

COUNT = 20
# forks from a process that has imported torch and computed nothing: quick, and without threads
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([encode_folder.__name__])


@pytest.fixture(scope="module", autouse=True)
def _forks_are_prepared() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # where the process that is forked from looks for the tests
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        yield


class Encoder:
    """A process that encodes a folder (see :func:`encode_folder.run`)."""

    def __init__(
        self, folder: Path, root: Path, mishap: encode_folder.Mishap | None = None
    ) -> None:
        with tempfile.NamedTemporaryFile(dir=folder.parent, delete=False) as file:
            self._output = Path(file.name)
        self.process = CONTEXT.Process(
            target=encode_folder.run, args=(folder, root, mishap, self._output)
        )
        self.process.start()

    def wait(self) -> tuple[int | None, list[str]]:
        """Return the exit code and the lines of output."""
        self.process.join(timeout=60)
        return self.process.exitcode, self._output.read_text().splitlines()

    def result(self) -> tuple[int, str]:
        """Return how many images it encoded, and the digest of their features."""
        code, lines = self.wait()
        assert code == 0, lines
        count, digest = lines[-1].split()
        return int(count), digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", COUNT)
    return tmp_path / "images"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def only_entry(root: Path) -> CacheEntry:
    (entry,) = FeatureStore(root).entries()
    return entry


def files_of(root: Path) -> list[str]:
    """Return the files of the entry that are no complete shards, nor the record of checked ones."""
    entry = only_entry(root)
    whole = {shard.path.name for shard in entry.shards()} | {"checked.json"}
    return sorted(path.name for path in entry.folder.iterdir() if path.name not in whole)


def test_eight_processes_on_an_empty_cache(folder: Path, root: Path) -> None:
    encoders = [Encoder(folder, root) for _ in range(8)]
    results = [encoder.result() for encoder in encoders]
    assert sorted(count for count, _ in results) == [0] * 7 + [COUNT + 1]
    assert len({digest for _, digest in results}) == 1
    assert sum(shard.images for shard in only_entry(root).shards()) == COUNT
    assert files_of(root) == ["encoding.json"]


def test_kill_while_a_shard_is_written(folder: Path, root: Path) -> None:
    assert Encoder(folder, root, "killed").wait()[0] == -signal.SIGKILL
    # one shard was finished; the other is unfinished, and no reader uses it
    assert sum(shard.images for shard in only_entry(root).shards()) == 4
    assert len(files_of(root)) == 2
    count, digest = Encoder(folder, root).result()
    assert count == COUNT - 4 + 1
    assert files_of(root) == ["encoding.json"]
    assert Encoder(folder, root.with_name("fresh")).result() == (COUNT + 1, digest)


def test_kill_of_the_writer_lets_the_next_one_write(folder: Path, root: Path) -> None:
    killed = Encoder(folder, root, "slow")
    while not (root.exists() and any(root.glob("*/*.safetensors"))):
        assert killed.process.is_alive()
        time.sleep(0.02)
    waiting = Encoder(folder, root)
    time.sleep(0.3)
    assert waiting.process.is_alive()
    killed.process.kill()
    count, _ = waiting.result()
    assert 0 < count <= COUNT - 4 + 1
    assert sum(shard.images for shard in only_entry(root).shards()) == COUNT


def test_a_killed_worker_is_one_line_and_keeps_the_shards(folder: Path, root: Path) -> None:
    code, lines = Encoder(folder, root, "worker killed").wait()
    assert code == 2, lines
    (line,) = lines
    assert line.startswith("error: a process that reads images ended early (DataLoader worker (pid")
    assert "Killed" in line
    assert sum(shard.images for shard in only_entry(root).shards()) == 4
    count, digest = Encoder(folder, root).result()
    assert count == COUNT - 4 + 1
    assert Encoder(folder, root.with_name("fresh")).result() == (COUNT + 1, digest)


def test_a_full_disk_is_one_line_and_leaves_nothing(folder: Path, root: Path) -> None:
    code, lines = Encoder(folder, root, "limited").wait()
    assert code == 2
    (line,) = lines
    assert line.startswith(f"error: {root}")
    assert "cannot be written (File too large)" in line
    assert "FEATURES.CACHE False" in line
    assert files_of(root) == ["encoding.json"]
    assert only_entry(root).shards() == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_read_only_root_serves_what_it_has(open_folder: Path) -> None:
    images, root = open_folder / "images", open_folder / "store"
    write_images(images, COUNT)
    _, digest = Encoder(images, root).result()
    made = [*root.rglob("*"), root]
    for path in made:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert Encoder(images, root, "unprivileged").result() == (0, digest)
        write_images(images, 1, first=COUNT)
        code, lines = Encoder(images, root, "unprivileged").wait()
        assert code == 2
        (line,) = lines
        assert line.startswith(f"error: {root}")
        assert "cannot be written" in line
    finally:
        for path in made:
            path.chmod(0o755)
