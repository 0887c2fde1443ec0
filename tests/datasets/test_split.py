"""Split files: what is read, and what is refused."""

import json
from pathlib import Path

import pytest

from datasets.split import (
    Item,
    Lists,
    Sizes,
    check_labels,
    describe,
    read_split,
    require_classes,
    safe_path,
)
from vtclip.errors import UserError

GOOD = {
    "train": [["a/1.jpg", 0, "a"], ["b/1.jpg", 1, "b"]],
    "val": [],
    "test": [["a/2.jpg", 0, "a"]],
}


def write(tmp_path, split):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(split))
    return path


def test_reads_the_order_and_puts_the_folder_in_front(tmp_path):
    lists = read_split(write(tmp_path, GOOD), "x/images/")
    assert lists.train == [Item("x/images/a/1.jpg", 0, "a"), Item("x/images/b/1.jpg", 1, "b")]
    assert lists.sizes == Sizes(2, 0, 1, 2)


@pytest.mark.parametrize(
    "path",
    [
        "../a.jpg",
        "/etc/passwd",
        "a/../../b.jpg",
        "a\\..\\..\\b.jpg",
        "\\a.jpg",
        "\\\\server\\a.jpg",
        "",
        ".",
        "./",
        "C:/a.jpg",
        "C:\\a.jpg",
        "./C:/a.jpg",
        "a\0b",
    ],
)
def test_refuses_entries_outside_the_image_folder(tmp_path, path):
    assert not safe_path(path)
    split = {**GOOD, "val": [[path, 0, "a"]]}
    with pytest.raises(UserError, match=r"split.json: entry 0 of 'val' names .* outside"):
        read_split(write(tmp_path, split), "")


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("./apple/00.png", "apple/00.png"),
        ("././a.jpg", "a.jpg"),
        ("a//b.jpg", "a/b.jpg"),
        ("a/./b.jpg", "a/b.jpg"),
        ("apple\\00.png", "apple/00.png"),
        (".\\apple\\00.png", "apple/00.png"),
        ("a/b.jpg/", "a/b.jpg"),
    ],
)
def test_other_spellings_of_a_path_are_read_as_the_plain_one(tmp_path, path, normal):
    assert not safe_path(path)
    split = {**GOOD, "val": [[path, 0, "a"]]}
    assert read_split(write(tmp_path, split), "x/").val == [Item(f"x/{normal}", 0, "a")]


def test_a_byte_order_mark_is_left_out(tmp_path):
    path = write(tmp_path, GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_split(path, "").sizes == Sizes(2, 0, 1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "not JSON"),
        ('{"train": ' + "9" * 5000 + "}", "not JSON"),
        ('{"train": [["\\ud800.jpg", 0, "a"]], "val": [], "test": []}', "not valid Unicode"),
        ('{"train": [["a.jpg", 0, "\\udcff"]], "val": [], "test": []}', "not valid Unicode"),
    ],
)
def test_json_that_python_cannot_hold_is_refused(tmp_path, text, message):
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_split(path, "")


def test_a_long_entry_is_not_shown_whole(tmp_path):
    with pytest.raises(UserError) as caught:
        read_split(write(tmp_path, {**GOOD, "test": [["x" * 10_000]]}), "")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("path", ["a.jpg", "a b/c..d.jpg", "...", "a/b/c.jpg"])
def test_accepts_entries_inside(path):
    assert safe_path(path)


@pytest.mark.parametrize(
    "entry", ["a.jpg", ["a.jpg", 0], ["a.jpg", "0", "a"], ["a.jpg", True, "a"], [1, 0, "a"], None]
)
def test_refuses_malformed_entries(tmp_path, entry):
    with pytest.raises(UserError, match=r"split\.json: entry 1 of 'test'"):
        read_split(write(tmp_path, {**GOOD, "test": [["a/2.jpg", 0, "a"], entry]}), "")


@pytest.mark.parametrize("split", [[], {"train": []}, {**GOOD, "val": {}}, 3])
def test_refuses_other_json(tmp_path, split):
    with pytest.raises(UserError, match=r"split\.json"):
        read_split(write(tmp_path, split), "")


def test_refuses_what_is_not_json(tmp_path):
    path = tmp_path / "split.json"
    path.write_text('{"train": [')
    with pytest.raises(UserError, match=r"split\.json: not JSON"):
        read_split(path, "")


def lists(train, test=(), val=()):
    def items(part):
        return [Item(f"{n}.jpg", label, name) for n, (label, name) in enumerate(part)]

    return Lists(items(train), items(val), items(test))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lists([(0, "a"), (2, "c")], [(0, "a")]), "no image has label 1"),
        (lists([(-1, "a"), (0, "b")], [(0, "b")]), "label -1 is below 0"),
        (lists([(0, "a"), (1, " ")], [(0, "a")]), "class name of label 1 is empty"),
        (lists([(0, "a"), (0, "b")], [(0, "a")]), "label 0 is both 'a' and 'b'"),
        (lists([(0, "a")], [(1, "b")]), "label 1, unknown in training"),
        (lists([(0, "a")]), "no test images"),
        (lists([(0, "a"), (10**8, "b")], [(0, "a")]), "0 to 100000000, but no image has label 1"),
        (lists([(0, "a"), (10**30, "b")], [(0, "a")]), "no image has label 1"),
        (lists([(1, "a"), (2, "b")], [(1, "a")]), "no image has label 0"),
    ],
)
def test_refuses_labels_that_cannot_be_right(tmp_path, bad, message):
    with pytest.raises(UserError, match=message):
        check_labels(bad, tmp_path / "split.json")


def test_two_classes_may_share_a_name(tmp_path):
    check_labels(lists([(0, "missile"), (1, "missile")], [(1, "missile")]), tmp_path)


def test_a_single_class_is_refused():
    require_classes(lists([(0, "a"), (1, "b")], [(1, "b")]), Path("here"))
    for single in (lists([(0, "a"), (0, "a")], [(0, "a")]), lists([], [(0, "a")])):
        with pytest.raises(UserError, match=r"here: holds a single class \(a\)"):
            require_classes(single, Path("here"))


def test_describe_names_both_counts():
    text = describe(Sizes(1, 2, 3, 4), Sizes(1, 2000, 3, 5))
    assert text == "2 val (known: 2,000), 4 classes (known: 5)"
    assert describe(Sizes(1, 2, 3, 4), Sizes(1, 2, 3, 4)) == ""
