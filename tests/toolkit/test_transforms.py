import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.transforms import INTERPOLATION_MODES, build_transform
from dassl.data.transforms.cutout import Cutout
from PIL import Image
from torchvision import transforms as tv
from torchvision.transforms.functional import InterpolationMode

ORDER = {
    "random_flip": tv.RandomHorizontalFlip,
    "random_resized_crop": tv.RandomResizedCrop,
    "random_crop": tv.RandomCrop,
    "random_translation": tv.RandomChoice,
    "center_crop": tv.CenterCrop,
    "colorjitter": tv.ColorJitter,
    "randomgrayscale": tv.RandomGrayscale,
    "gaussian_blur": tv.RandomApply,
    "randaugment": tv.RandAugment,
    "normalize": tv.Normalize,
    "cutout": Cutout,
}


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
    found = build_transform(cfg, is_train=False)(image)
    torch.testing.assert_close(found, (crop - mean) / std)


def test_coops_training_transform(cfg):
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "normalize")
    transform = build_transform(cfg, is_train=True)
    assert kinds(transform) == [
        tv.RandomHorizontalFlip,
        tv.RandomResizedCrop,
        tv.ToTensor,
        tv.Normalize,
    ]
    crop = transform.transforms[1]
    assert (crop.scale, tuple(crop.size)) == ((0.08, 1.0), (224, 224))
    assert crop.interpolation == INTERPOLATION_MODES["bilinear"]


def test_order_is_fixed_whatever_the_order_of_the_names(cfg, image):
    found = build_transform(cfg, is_train=True, choices=list(ORDER)[::-1])
    assert [kind for kind in kinds(found) if kind is not tv.ToTensor] == list(ORDER.values())
    assert found(image).shape == (3, 224, 224)


@pytest.mark.parametrize("choice", [*ORDER, "imagenet_policy", "cifar10_policy", "svhn_policy"])
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


def test_cutout_zeroes_a_square_and_copies():
    torch.manual_seed(0)
    image = torch.ones(3, 20, 20)
    areas = [int((Cutout(1, 4)(image)[0] == 0).sum()) for _ in range(200)]
    assert max(areas) == 16
    assert min(areas) >= 4  # a corner
    assert image.min() == 1
