"""Names of datasets and backbones in results and in publications, in one place."""

from __future__ import annotations

from collections.abc import Collection

# DATASET.NAME of the eleven datasets of the CoOp benchmark, and their keys in CoOp's scripts
BENCHMARK: dict[str, str] = {
    "ImageNet": "imagenet",
    "Caltech101": "caltech101",
    "OxfordPets": "oxford_pets",
    "StanfordCars": "stanford_cars",
    "OxfordFlowers": "oxford_flowers",
    "Food101": "food101",
    "FGVCAircraft": "fgvc_aircraft",
    "SUN397": "sun397",
    "DescribableTextures": "dtd",
    "EuroSAT": "eurosat",
    "UCF101": "ucf101",
}
# the dataset whose images are the user's: of one name, and in each data root another one
OWN_PHOTOS = "ImageFolder"
AVERAGE = "average"
# names of trainers that publications spell otherwise
METHODS: dict[str, str] = {
    "CLIPAdapter": "CLIP-Adapter",
    "SSText": "SS-Text",
    "TipAdapter": "Tip-Adapter",
    "TipAdapterF": "Tip-Adapter-F",
}

_NAME_OF_KEY = {key: name for name, key in BENCHMARK.items()}


def dataset_name(key: str) -> str:
    """Return the DATASET.NAME of a key such as "oxford_pets"; anything unknown as it is."""
    return _NAME_OF_KEY.get(key, key)


def dataset_order(names: Collection[str]) -> list[str]:
    """Return the benchmark's datasets among `names` in the benchmark's order, then the others."""
    known = [name for name in BENCHMARK if name in names]
    return known + sorted(set(names) - set(known))


def average_name(datasets: Collection[str]) -> str:
    """Return "average" for the eleven of the benchmark and only those, else "average of N"."""
    return AVERAGE if set(datasets) == set(BENCHMARK) else f"{AVERAGE} of {len(set(datasets))}"


def same_backbone(one: str, other: str) -> bool:
    """Tell whether two spellings name one backbone: ViT-B/16, vit_b16 and ViT-B-16 do."""
    return _folded(one) == _folded(other)


def same_method(one: str, other: str) -> bool:
    """Tell whether two spellings name one method: TipAdapter and Tip-Adapter do."""
    return _folded(one) == _folded(other)


def method_name(method: str) -> str:
    """Return a method as publications spell it, with its recipe where there is one.

    >>> method_name("TipAdapterF (tuned)"), method_name("VTCLIP")
    ('Tip-Adapter-F (tuned)', 'VTCLIP')
    """
    trainer, space, recipe = method.partition(" ")
    return METHODS.get(trainer, trainer) + space + recipe


def _folded(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in "-_/ ")


def shots_name(shots: int) -> str:
    """Return "1 shot", "16 shots", or "all images" for -1."""
    if shots < 0:
        return "all images"
    return f"{shots} shot" if shots == 1 else f"{shots} shots"


def shots_order(shots: int) -> tuple[bool, int]:
    """Sort key of shot counts: 0, 1, 2 ..., and the whole training set last."""
    return shots < 0, shots
