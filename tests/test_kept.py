"""Values that runs of one process share."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtclip.kept import kept, kept_in_memory, kept_of_file


def read(path: Path) -> list[str]:
    return [path.read_text()]


def test_nothing_is_kept_outside_the_block(tmp_path: Path) -> None:
    assert kept("a", 1, list) is not kept("a", 1, list)
    with kept_in_memory():
        first = kept("a", 1, list)
        assert kept("a", 1, list) is first
        assert kept("b", 1, list) is not first
        assert kept("a", 2, list) is not first
    assert kept("a", 1, list) is not first


def test_a_file_that_was_written_since_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    with kept_in_memory():
        first = kept_of_file("text", path, read)
        assert kept_of_file("text", path, read) is first
        path.write_text("two")
        assert kept_of_file("text", path, read) == ["two"]
        path.unlink()
        with pytest.raises(FileNotFoundError):
            kept_of_file("text", path, read)


def test_the_oldest_of_a_kind_go_first() -> None:
    with kept_in_memory():
        one, two = kept("a", 1, list, most=2), kept("a", 2, list, most=2)
        kept("b", 3, list, most=2)
        assert kept("a", 1, list, most=2) is one
        kept("a", 3, list, most=2)
        assert kept("a", 1, list, most=2) is one
        assert kept("a", 2, list, most=2) is not two


def test_what_failed_is_not_kept() -> None:
    with kept_in_memory():
        with pytest.raises(ZeroDivisionError):
            kept("a", 1, lambda: 1 / 0)
        assert kept("a", 1, lambda: 2.0) == 2.0
