import hashlib
import json
import os
import random
from pathlib import Path

import pytest
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum, build_dataset

REAL_DATA = Path(os.environ.get("VTCLIP_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
GOLD = {
    "caltech101": ("caltech-101/split_zhou_Caltech101.json", "caltech-101/101_ObjectCategories"),
    "oxford_pets": ("splits/split_zhou_OxfordPets.json", "oxford_pets/images"),
    "dtd": ("splits/split_zhou_DescribableTextures.json", "dtd/images"),
    "eurosat": ("splits/split_zhou_EuroSAT.json", "eurosat/2750"),
}


def items(*labels):
    return [
        Datum(impath=f"{i}.jpg", label=label, classname=f"c{label}")
        for i, label in enumerate(labels)
    ]


def test_datum_defaults_and_no_look_at_the_file():
    datum = Datum(impath="/no/such/file.jpg", label=3, domain=1, classname="cat")
    assert (datum.impath, datum.label, datum.domain, datum.classname) == (
        "/no/such/file.jpg",
        3,
        1,
        "cat",
    )
    assert Datum() == Datum(impath="", label=0, domain=0, classname="")
    assert Datum("a", 1, 2, "b") == Datum(impath="a", label=1, domain=2, classname="b")


def test_classes_in_the_order_of_labels():
    dataset = DatasetBase(train_x=items(2, 0, 1, 0), test=items(1))
    assert dataset.lab2cname == {0: "c0", 1: "c1", 2: "c2"}
    assert dataset.classnames == ["c0", "c1", "c2"]
    assert dataset.num_classes == 3
    assert (len(dataset.train_x), list(dataset.train_u), list(dataset.val)) == (4, [], [])
    assert dataset.test == items(1)


def test_hole_in_the_labels():
    with pytest.raises(ValueError, match="label 1 is missing in train_x") as caught:
        DatasetBase(train_x=items(0, 2, 3))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="train_x is empty"):
        DatasetBase(train_x=[])


def test_sampling_is_random_sample_per_label_in_order_of_occurrence():
    source = items(1, 0, 1, 0, 1, 0, 1, 2)
    dataset = DatasetBase(train_x=source)
    random.seed(5)
    sample = dataset.generate_fewshot_dataset(source, num_shots=2)
    random.seed(5)
    ones = random.sample([d for d in source if d.label == 1], 2)
    zeros = random.sample([d for d in source if d.label == 0], 2)
    assert sample == [*ones, *zeros, source[7]]


def test_sampling_of_several_lists_and_none():
    source = items(0, 0, 1)
    dataset = DatasetBase(train_x=source)
    assert dataset.generate_fewshot_dataset(source) is source
    assert dataset.generate_fewshot_dataset(source, source, num_shots=0) == [source, source]
    first, second = dataset.generate_fewshot_dataset(source, source, num_shots=1)
    assert [d.label for d in first] == [d.label for d in second] == [0, 1]
    repeated = dataset.generate_fewshot_dataset(source, num_shots=4, repeat=True)
    assert [d.label for d in repeated] == [0] * 4 + [1] * 4


def gold_digest(data):
    lines = "".join(f"{d.impath}\t{d.label}\t{d.classname}\n" for d in data)
    return hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("name", GOLD)
def test_lists_are_those_of_coop(name):
    gold_path, split_path = REAL_DATA / "fewshot_gold.json", REAL_DATA / GOLD[name][0]
    if not (gold_path.is_file() and split_path.is_file()):
        pytest.skip(f"no {gold_path} or {split_path}; set VTCLIP_REAL_DATA")
    split = json.loads(split_path.read_text())
    train, val = (
        [
            Datum(impath=f"{GOLD[name][1]}/{path}", label=label, classname=classname)
            for path, label, classname in split[part]
        ]
        for part in ("train", "val")
    )
    dataset = DatasetBase(train_x=train, val=val)
    runs = json.loads(gold_path.read_text())["lists"][name]
    assert len(runs) == 15
    for run, expected in runs.items():
        shots, seed = (int("".join(filter(str.isdigit, part))) for part in run.split("-"))
        random.seed(seed)
        few_train = dataset.generate_fewshot_dataset(train, num_shots=shots)
        few_val = dataset.generate_fewshot_dataset(val, num_shots=min(shots, 4))
        assert gold_digest(few_train) == expected["train"]["sha256"], run
        assert gold_digest(few_val) == expected["val"]["sha256"], run


def test_build_dataset_by_name():
    @DATASET_REGISTRY.register(force=True)
    class Three(DatasetBase):
        def __init__(self, cfg):
            super().__init__(train_x=items(*range(cfg.DATASET.NUM_SHOTS)))

    cfg = get_cfg_default()
    cfg.DATASET.NAME = "Three"
    cfg.DATASET.NUM_SHOTS = 3
    assert build_dataset(cfg).num_classes == 3
    cfg.DATASET.NAME = "Tree"
    with pytest.raises(ValueError, match="did you mean 'Three'"):
        build_dataset(cfg)
