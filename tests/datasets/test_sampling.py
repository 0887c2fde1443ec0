"""Base and new classes, random splits, images that are left."""

import random

import pytest

from datasets.sampling import kept_labels, random_lists, relabel, without
from datasets.split import Item
from vtclip.errors import UserError


def test_base_takes_the_larger_half_and_new_is_relabelled_from_zero():
    labels = [3, 0, 1, 4, 2, 0]
    assert kept_labels(labels, "all") == {n: n for n in range(5)}
    assert kept_labels(labels, "base") == {0: 0, 1: 1, 2: 2}
    assert kept_labels(labels, "new") == {3: 0, 4: 1}


def test_an_unknown_half_is_named():
    with pytest.raises(UserError, match=r"SUBSAMPLE_CLASSES.*'bas'.*did you mean base"):
        kept_labels([0], "bas")


def test_relabel_keeps_the_order():
    items = [Item("b", 3, "d"), Item("a", 0, "a"), Item("c", 4, "e")]
    assert relabel(items, {3: 0, 4: 1}) == [Item("b", 0, "d"), Item("c", 1, "e")]


def test_without_leaves_out_what_is_taken():
    items = [Item(path, 0, "a") for path in "abc"]
    assert without(items, items[1:2]) == [items[0], items[2]]


def test_a_random_split_has_its_shares_and_leaves_the_global_draw_alone():
    names = {f"{c}/{n}.jpg": c for c in "ab" for n in range(10)}
    random.seed(5)
    before = random.getstate()
    lists = random_lists(names)
    assert random.getstate() == before
    assert random_lists(dict(reversed(names.items()))) == lists
    assert (lists.sizes.train, lists.sizes.val, lists.sizes.test) == (10, 4, 6)
    assert sorted(i.path for i in (*lists.train, *lists.val, *lists.test)) == sorted(names)
    assert not lists.comparable


@pytest.mark.parametrize(("count", "sizes"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (2, 0, 1))])
def test_small_classes_train_first_and_test_second(count, sizes):
    lists = random_lists({f"{n}.jpg": "a" for n in range(count)})
    assert (len(lists.train), len(lists.val), len(lists.test)) == sizes
