"""Files are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtclip.errors import UserError
from vtclip.files import atomic_path, read_json, sha256_of_file, write_json, write_text


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "x.json", {"a": [1, "ü"]})
    assert read_json(tmp_path / "deep" / "x.json") == {"a": [1, "ü"]}


def test_new_files_are_readable_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "")
    assert (tmp_path / "x").stat().st_mode & 0o044 == 0o044


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": "ü"}', encoding="utf-8-sig")
    assert read_json(tmp_path / "x.json") == {"a": "ü"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"[" * 200_000 + b"]" * 200_000, "nested too deeply"),
        (b"1" * 5000, "digits"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice"),
        ('{"a": "ü"}'.encode("latin-1"), "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"\0" * 100, "not JSON"),
    ],
    ids=["lists", "objects", "closed lists", "digits", "key twice", "latin-1", "utf-16", "zeros"],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"x\.json: .*{said}"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("text", ["", "{", "nonsense"])
def test_broken_json_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=r"x\.json: not JSON"):
        read_json(tmp_path / "x.json")


def test_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.json: no such file"):
        read_json(tmp_path / "x.json")


def test_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "x").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        write_text(tmp_path / "file" / "x", "text")
