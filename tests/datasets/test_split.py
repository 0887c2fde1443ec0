"""Split files: what is read, and what is refused."""

import json

import pytest

from datasets.split import Item, Lists, Sizes, check_labels, describe, read_split, safe_path
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
        "a//b.jpg",
        "./a.jpg",
        "",
        "C:/a.jpg",
        "a\\b",
        "a\0b",
    ],
)
def test_refuses_entries_outside_the_image_folder(tmp_path, path):
    assert not safe_path(path)
    split = {**GOOD, "val": [[path, 0, "a"]]}
    with pytest.raises(UserError, match=r"split.json: entry 0 of 'val' names .* outside"):
        read_split(write(tmp_path, split), "")


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
    ],
)
def test_refuses_labels_that_cannot_be_right(tmp_path, bad, message):
    with pytest.raises(UserError, match=message):
        check_labels(bad, tmp_path / "split.json")


def test_two_classes_may_share_a_name(tmp_path):
    check_labels(lists([(0, "missile"), (1, "missile")], [(1, "missile")]), tmp_path)


def test_describe_names_both_counts():
    text = describe(Sizes(1, 2, 3, 4), Sizes(1, 2000, 3, 5))
    assert text == "2 val (known: 2,000), 4 classes (known: 5)"
    assert describe(Sizes(1, 2, 3, 4), Sizes(1, 2, 3, 4)) == ""
