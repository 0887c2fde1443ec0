"""Few-shot lists equal those of CoOp's own code, order included."""

import json
import random
from pathlib import Path

import fakes
import pytest

from datasets.base import ImageDataset, SplitDataset
from datasets.split import read_split
from vtclip.fewshot import digest_of

SPLIT_FOLDERS = {"caltech101": "caltech-101"}


@pytest.mark.parametrize("key", ["caltech101", "oxford_pets", "dtd", "eurosat"])
def test_sixty_gold_lists(key, real_data):
    gold = json.loads((real_data / "fewshot_gold.json").read_text())["lists"][key]
    assert len(gold) == 15
    dataset = ImageDataset.known[key].at(Path("/no/images/needed"))
    assert isinstance(dataset, SplitDataset)
    name = Path(fakes.SPLITS[key][1]).name
    lists = read_split(real_data / SPLIT_FOLDERS.get(key, "splits") / name, dataset.prefix)
    for run, expected in gold.items():
        shots, seed = (int(part.lstrip("shoted")) for part in run.split("-"))
        random.seed(seed)
        parts = dict(zip(("train", "val"), dataset.few_shots(lists, shots), strict=True))
        for part, items in parts.items():
            assert len(items) == expected[part]["n"], run
            assert items[0].path == expected[part]["first"], run
            assert digest_of(items) == expected[part]["sha256"], run


def test_a_run_on_caltech101_has_the_gold_list(real_data, make_cfg):
    gold = json.loads((real_data / "fewshot_gold.json").read_text())["lists"]["caltech101"]
    random.seed(2)
    dataset = ImageDataset.known["caltech101"](make_cfg(real_data, 4))
    for part, items in dataset.few_shot_lists.items():
        assert digest_of(items) == gold["shots4-seed2"][part]["sha256"]
    paths = [f"{real_data}/{item.path}" for item in dataset.few_shot_lists["train"]]
    assert [item.impath for item in dataset.train_x] == paths
