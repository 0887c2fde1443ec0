"""Images in two lists at once."""

from datasets.overlap import describe_overlap, overlap
from datasets.split import Item

TRAIN = [Item("train/a/1.jpg", 0, "a"), Item("train/a/2.jpg", 0, "a"), Item("b/3.jpg", 1, "b")]
TEST = [Item("b/3.jpg", 1, "b"), Item("test/a/7.jpg", 0, "a"), Item("test/a/8.jpg", 0, "a")]


def test_the_same_path_is_the_same_image():
    assert overlap(TRAIN, TEST) == [(TRAIN[2], TEST[0])]
    assert overlap(TEST, TRAIN) == [(TEST[0], TRAIN[2])]
    assert overlap(TRAIN, TEST[1:]) == overlap([], TEST) == overlap(TRAIN, []) == []


def test_the_same_content_is_the_same_image():
    digests = {"train/a/1.jpg": b"x", "test/a/8.jpg": b"x", "test/a/7.jpg": b"y", "b/3.jpg": b"z"}
    assert overlap(TRAIN, TEST, digests) == [(TRAIN[0], TEST[2]), (TRAIN[2], TEST[0])]


def test_images_without_a_digest_are_compared_by_path():
    assert overlap(TRAIN, TEST, {"train/a/1.jpg": b"x"}) == [(TRAIN[2], TEST[0])]
    assert overlap(TRAIN, TEST, {}) == [(TRAIN[2], TEST[0])]


def test_labels_do_not_matter_and_repeats_count():
    other = [Item("b/3.jpg", 5, "f"), Item("b/3.jpg", 6, "g")]
    assert overlap([TRAIN[2]] * 2, other) == [(TRAIN[2], other[0])] * 2


def test_one_line_tells_how_many_and_which():
    assert describe_overlap([], "train", "test") == ""
    pair = (TRAIN[2], TEST[0])
    assert describe_overlap([pair], "train", "test") == "1 image of train in test too (b/3.jpg)"
    pairs = [(TRAIN[0], TEST[1])] * 1200
    assert describe_overlap(pairs, "train", "test") == (
        "1,200 images of train in test too (train/a/1.jpg is test/a/7.jpg)"
    )
