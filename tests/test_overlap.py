"""Images in two lists at once."""

from __future__ import annotations

from pathlib import Path

from vtclip.overlap import ENDING, describe_overlap, overlap


def files(folder: Path, **contents: bytes) -> list[str]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]


def test_the_same_path_is_the_same_image_whether_it_exists_or_not():
    assert overlap(["a/1", "b/3"], ["b/3", "a/7"]) == [("b/3", "b/3")]
    assert overlap(["a/1"], ["a/2"]) == overlap([], ["a"]) == overlap(["a"], []) == []


def test_the_same_content_is_the_same_image(tmp_path: Path):
    long = b"x" * ENDING
    a, b, c, d = files(tmp_path, a=b"1" + long, b=b"2" + long, c=b"1" + long, d=b"1" + long + b"x")
    assert overlap([a], [b, c, d]) == [(a, c)]
    assert overlap([b, d], [a, c]) == []
    assert overlap([a], [b, c, d], by_content=False) == []
    gone = str(tmp_path / "gone")
    assert overlap([gone, a], [c]) == [(a, c)]


def test_repeats_count_and_the_first_of_several_is_given(tmp_path: Path):
    a, b, c = files(tmp_path, a=b"same", b=b"same", c=b"same")
    assert overlap([a, a], [b, c]) == [(a, b), (a, b)]
    assert overlap([a, b], [b, c]) == [(a, b), (b, b)]


def test_one_line_tells_how_many_and_which():
    assert describe_overlap([], "train", "test") == ""
    assert describe_overlap([("b", "b")], "train", "test") == "1 image of train in test too (b)"
    assert describe_overlap([("a", "b")] * 1200, "train", "test") == (
        "1,200 images of train in test too (a is b)"
    )
