import random

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.transforms import INTERPOLATION_MODES, build_transform
from dassl.data.transforms.on_tensor import Cutout, GaussianNoise, InstanceNormalization
from dassl.data.transforms.translation import RandomTranslation
from PIL import Image
from torchvision import transforms as tv
from torchvision.transforms.functional import InterpolationMode

ORDER = {
    "random_translation": RandomTranslation,
    "random_crop": tv.RandomCrop,
    "random_resized_crop": tv.RandomResizedCrop,
    "random_flip": tv.RandomHorizontalFlip,
    "randaugment": tv.RandAugment,
    "colorjitter": tv.ColorJitter,
    "randomgrayscale": tv.RandomGrayscale,
    "gaussian_blur": tv.RandomApply,
    "cutout": Cutout,
    "normalize": tv.Normalize,
    "gaussian_noise": GaussianNoise,
    "instance_norm": InstanceNormalization,
}
POLICIES = ("imagenet_policy", "cifar10_policy", "svhn_policy")


@pytest.fixture
def cfg():
    cfg = get_cfg_default()
    cfg.VERBOSE = False
    return cfg


@pytest.fixture
def image():
    return Image.effect_noise((320, 260), 60).convert("RGB")


def kinds(transform):
    return [type(step) for step in transform.transforms]


def test_test_transform_by_hand(cfg, image):
    cfg.INPUT.INTERPOLATION = "bicubic"
    resized = tv.functional.resize(image, 224, interpolation=InterpolationMode.BICUBIC)
    crop = tv.functional.to_tensor(tv.functional.center_crop(resized, [224, 224]))
    mean = torch.tensor(cfg.INPUT.PIXEL_MEAN).view(3, 1, 1)
    std = torch.tensor(cfg.INPUT.PIXEL_STD).view(3, 1, 1)
    assert torch.equal(build_transform(cfg, is_train=False)(image), crop)
    assert torch.equal(build_transform(cfg, is_train=False, choices=("random_flip",))(image), crop)
    found = build_transform(cfg, is_train=False, choices=("normalize",))(image)
    torch.testing.assert_close(found, (crop - mean) / std)
    found = build_transform(cfg, is_train=False, choices=("instance_norm",))(image)
    torch.testing.assert_close(found.mean(dim=(1, 2)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std(dim=(1, 2)), torch.ones(3))


def test_coops_training_transform(cfg):
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "normalize")
    transform = build_transform(cfg, is_train=True)
    assert kinds(transform) == [
        tv.RandomResizedCrop,
        tv.RandomHorizontalFlip,
        tv.ToTensor,
        tv.Normalize,
    ]
    crop = transform.transforms[0]
    assert (crop.scale, tuple(crop.size)) == ((0.08, 1.0), (224, 224))
    assert crop.interpolation == INTERPOLATION_MODES["bilinear"]


def test_order_is_fixed_whatever_the_order_of_the_names(cfg, image):
    found = build_transform(cfg, is_train=True, choices=list(ORDER)[::-1])
    assert [kind for kind in kinds(found) if kind is not tv.ToTensor] == list(ORDER.values())
    assert found(image).shape == (3, 224, 224)


@pytest.mark.parametrize("choice", [*ORDER, *POLICIES, "center_crop"])
def test_each_choice_alone_gives_the_input_size(cfg, image, choice):
    cfg.INPUT.SIZE = (32, 48)
    out = build_transform(cfg, is_train=True, choices=(choice,))(image)
    assert (out.shape, out.dtype) == ((3, 32, 48), torch.float32)


def test_no_choice_only_resizes(cfg, image):
    expected = tv.functional.to_tensor(image.resize((224, 224), Image.Resampling.BILINEAR))
    torch.testing.assert_close(build_transform(cfg)(image), expected)


def test_no_transform(cfg):
    cfg.INPUT.NO_TRANSFORM = True
    assert build_transform(cfg) is None


def test_unknown_names(cfg):
    with pytest.raises(ValueError, match="unknown name 'randomflip': did you mean 'random_flip'"):
        build_transform(cfg, choices=("randomflip",))
    cfg.INPUT.INTERPOLATION = "lanczos"
    with pytest.raises(ValueError, match="there are bilinear, bicubic, nearest"):
        build_transform(cfg, is_train=False)


def test_crop_is_drawn_before_flip(cfg, image):
    transform = build_transform(cfg, choices=("random_flip", "random_resized_crop"))
    crop = tv.RandomResizedCrop(224, scale=(0.08, 1.0))
    flipped = 0
    for seed in range(10):
        torch.manual_seed(seed)
        found = transform(image)
        torch.manual_seed(seed)
        expected = crop(image)
        if torch.rand(1) < 0.5:
            flipped += 1
            expected = tv.functional.hflip(expected)
        assert torch.equal(found, tv.functional.to_tensor(expected))
    assert 0 < flipped < 10


def test_cutout_of_fixed_seeds():
    image = torch.ones(3, 20, 20)
    np.random.seed(0)  # centre in row 12, column 15
    found = Cutout(1, 5)(image)
    expected = image.clone()
    expected[:, 10:14, 13:17] = 0  # an odd length is one less, as in Dassl
    assert torch.equal(found, expected)
    np.random.seed(4)  # row 14, column 5; row 1, column 8
    found = Cutout(2, 4)(image)
    expected = image.clone()
    expected[:, 12:16, 3:7] = 0
    expected[:, 0:3, 6:10] = 0
    assert torch.equal(found, expected)
    assert image.min() == 1


def test_cutout_is_before_normalisation(cfg, image):
    found = build_transform(cfg, choices=("normalize", "cutout"))(image)
    hole = -torch.tensor(cfg.INPUT.PIXEL_MEAN) / torch.tensor(cfg.INPUT.PIXEL_STD)
    assert int((found - hole[:, None, None]).abs().sum(0).lt(1e-6).sum()) >= 64


def test_translation_of_fixed_seeds(image):
    translate = RandomTranslation(30, 44)
    random.seed(0)  # 0.84: no shift
    assert translate(image).tobytes() == tv.functional.resize(image, [30, 44]).tobytes()
    random.seed(1)  # 0.13, left 5.08 of 6, top 3.06 of 4
    enlarged = tv.functional.resize(image, [34, 50])
    assert translate(image).tobytes() == enlarged.crop((5, 3, 49, 33)).tobytes()


def test_noise_of_fixed_seeds():
    image = torch.zeros(3, 4, 5)
    random.seed(0)
    assert GaussianNoise(0.0, 0.15)(image) is image
    random.seed(1)
    torch.manual_seed(2)
    found = GaussianNoise(0.5, 0.15)(image)
    torch.manual_seed(2)
    torch.testing.assert_close(found, torch.randn(3, 4, 5) * 0.15 + 0.5)
