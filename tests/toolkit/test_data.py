import pytest
import torch
from dassl.data import DataManager, DatasetWrapper, build_data_loader
from PIL import Image
from torchvision import transforms as tv

from .toy import COLOURS, colour_items


@pytest.fixture
def train_items(colour_root):
    return colour_items(colour_root, "train")


def whole(image):
    return tv.functional.to_tensor(image)


def negative(image):
    return 1 - whole(image)


def test_item(cfg, train_items):
    item = DatasetWrapper(cfg, train_items, transform=whole)[5]
    assert set(item) == {"img", "label", "domain", "impath", "index"}
    assert (item["label"], item["domain"], item["index"]) == (1, 0, 5)
    assert item["impath"] == train_items[5].impath
    expected = torch.tensor([40, 220, 40]) / 255
    torch.testing.assert_close(item["img"], expected.view(3, 1, 1).expand(3, 10, 12))


def test_k_transforms_in_training_only(cfg, train_items):
    cfg.DATALOADER.K_TRANSFORMS = 3
    train = DatasetWrapper(cfg, train_items, transform=whole, is_train=True)
    assert [view.shape for view in train[0]["img"]] == [(3, 10, 12)] * 3
    test = DatasetWrapper(cfg, train_items, transform=whole)
    assert test[0]["img"].shape == (3, 10, 12)
    with pytest.raises(ValueError, match=r"^DATALOADER\.K_TRANSFORMS: 3 views need a transform"):
        DatasetWrapper(cfg, train_items, is_train=True)
    loader = build_data_loader(cfg, data_source=train_items, batch_size=4, tfm=whole)
    assert [view.shape for view in next(iter(loader))["img"]] == [(4, 3, 10, 12)] * 3


def test_tuple_of_transforms(cfg, train_items):
    item = DatasetWrapper(cfg, train_items, transform=(whole, negative, whole))[0]
    assert {key for key in item if key.startswith("img")} == {"img", "img2", "img3"}
    torch.testing.assert_close(item["img2"], 1 - item["img"])


def test_no_transform_and_img0(cfg, train_items):
    cfg.DATALOADER.RETURN_IMG0 = True
    item = DatasetWrapper(cfg, train_items)[0]
    assert isinstance(item["img"], Image.Image)
    assert item["img0"].shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("batch_size", "is_train", "sizes"),
    [
        (5, True, [5, 5]),
        (5, False, [5, 5, 2]),
        (12, True, [12]),
        (13, True, [12]),
        (32, True, [12]),
    ],
)
def test_last_batch(cfg, train_items, batch_size, is_train, sizes):
    loader = build_data_loader(
        cfg, data_source=train_items, batch_size=batch_size, tfm=whole, is_train=is_train
    )
    assert [len(batch["label"]) for batch in loader] == sizes
    assert len(loader) == len(sizes)


def test_batch(cfg, train_items):
    loader = build_data_loader(cfg, data_source=train_items, batch_size=8, tfm=whole)
    (batch,) = loader
    assert batch["img"].shape == (8, 3, 10, 12)
    assert batch["label"].tolist() == [0] * 4 + [1] * 4
    assert batch["index"].tolist() == list(range(8))
    assert batch["impath"] == [item.impath for item in train_items[:8]]
    assert loader.pin_memory is False


def test_workers_read_the_same_batches(cfg, train_items):
    cfg.DATALOADER.NUM_WORKERS = 1
    (batch,) = build_data_loader(cfg, data_source=train_items, batch_size=12, tfm=whole)
    torch.testing.assert_close(batch["img"][5, :, 0, 0], torch.tensor([40, 220, 40]) / 255)


def test_nothing_to_load(cfg):
    with pytest.raises(ValueError, match="no images to load"):
        build_data_loader(cfg)


def test_manager(cfg, capsys):
    cfg.VERBOSE = True
    manager = DataManager(cfg)
    assert manager.num_classes == 3
    assert manager.lab2cname == dict(enumerate(COLOURS))
    assert manager.dataset.classnames == list(COLOURS)
    assert [len(batch["label"]) for batch in manager.train_loader_x] == [6, 6]
    assert [len(batch["label"]) for batch in manager.test_loader] == [12]
    assert next(iter(manager.val_loader))["img"].shape == (12, 3, 8, 8)
    assert manager.train_loader_u is None
    assert manager.num_source_domains == 0
    printed = capsys.readouterr().out
    assert "Loading dataset: Colours" in printed
    assert "# train_x  12" in printed


def test_manager_takes_transforms_and_wrapper(cfg):
    class Doubled(DatasetWrapper):
        def __getitem__(self, index):
            return {**super().__getitem__(index), "twice": 2 * index}

    manager = DataManager(
        cfg, custom_tfm_train=(whole, negative), custom_tfm_test=whole, dataset_wrapper=Doubled
    )
    batch = next(iter(manager.train_loader_x))
    torch.testing.assert_close(batch["img2"], 1 - batch["img"])
    assert batch["twice"].tolist() == [0, 2, 4, 6, 8, 10]
    assert next(iter(manager.test_loader))["img"].shape == (12, 3, 10, 12)


def test_no_validation_images(cfg):
    cfg.DATASET.SOURCE_DOMAINS = ("no-val",)
    assert DataManager(cfg).val_loader is None
