"""Small copies of the layouts of the benchmark, with real names and real oddities."""

import json
from pathlib import Path

from PIL import Image

# folder of images, name of the split file, {part: [(image, label, class name)]}
SPLITS = {
    "caltech101": (
        "caltech-101/101_ObjectCategories",
        "caltech-101/split_zhou_Caltech101.json",
        {
            "train": [
                ("Faces/image_0201.jpg", 0, "face"),
                ("Leopards/image_0001.jpg", 1, "leopard"),
                ("yin_yang/image_0007.jpg", 2, "yin_yang"),
            ],
            "val": [("Faces/image_0235.jpg", 0, "face")],
            "test": [("Leopards/image_0002.jpg", 1, "leopard")],
        },
    ),
    "oxford_pets": (
        "oxford_pets/images",
        "oxford_pets/split_zhou_OxfordPets.json",
        {
            "train": [
                ("Abyssinian_34.jpg", 0, "abyssinian"),
                ("Egyptian_Mau_139.jpg", 1, "egyptian_mau"),
            ],
            "val": [("Egyptian_Mau_14.jpg", 1, "egyptian_mau")],
            "test": [("Abyssinian_201.jpg", 0, "abyssinian")],
        },
    ),
    "stanford_cars": (
        "stanford_cars",
        "stanford_cars/split_zhou_StanfordCars.json",
        {
            "train": [
                ("cars_train/00001.jpg", 0, "2012 Audi TTS Coupe"),
                ("cars_train/00002.jpg", 1, "2012 Ram C/V Cargo Van Minivan"),
            ],
            "val": [("cars_train/00003.jpg", 0, "2012 Audi TTS Coupe")],
            "test": [("cars_test/00001.jpg", 1, "2012 Ram C/V Cargo Van Minivan")],
        },
    ),
    "oxford_flowers": (
        "oxford_flowers/jpg",
        "oxford_flowers/split_zhou_OxfordFlowers.json",
        {
            "train": [
                ("image_00190.jpg", 1, "passion flower"),
                ("image_06734.jpg", 0, "pink primrose"),
            ],
            "val": [("image_00067.jpg", 1, "passion flower")],
            "test": [("image_06735.jpg", 0, "pink primrose")],
        },
    ),
    "food101": (
        "food-101/images",
        "food-101/split_zhou_Food101.json",
        {
            "train": [("apple_pie/1005649.jpg", 0, "apple_pie"), ("waffles/1.jpg", 1, "waffles")],
            "val": [("apple_pie/1011328.jpg", 0, "apple_pie")],
            "test": [("waffles/2.jpg", 1, "waffles")],
        },
    ),
    "sun397": (
        "sun397/SUN397",
        "sun397/split_zhou_SUN397.json",
        {
            "train": [
                ("a/abbey/sun_aaalbzqrimafwbiv.jpg", 0, "abbey"),
                ("a/apartment_building/outdoor/sun_aa.jpg", 1, "outdoor apartment_building"),
            ],
            "val": [("a/abbey/sun_ab.jpg", 0, "abbey")],
            "test": [("a/apartment_building/outdoor/sun_ac.jpg", 1, "outdoor apartment_building")],
        },
    ),
    "dtd": (
        "dtd/images",
        "dtd/split_zhou_DescribableTextures.json",
        {
            "train": [
                ("banded/banded_0133.jpg", 0, "banded"),
                ("polka-dotted/polka-dotted_0004.jpg", 1, "polka-dotted"),
            ],
            "val": [("banded/banded_0085.jpg", 0, "banded")],
            "test": [("polka-dotted/polka-dotted_0005.jpg", 1, "polka-dotted")],
        },
    ),
    "eurosat": (
        "eurosat/2750",
        "eurosat/split_zhou_EuroSAT.json",
        {
            "train": [
                ("AnnualCrop/AnnualCrop_1381.jpg", 0, "Annual Crop Land"),
                ("Highway/Highway_1.jpg", 1, "Highway or Road"),
            ],
            "val": [("Highway/Highway_2.jpg", 1, "Highway or Road")],
            "test": [("AnnualCrop/AnnualCrop_2825.jpg", 0, "Annual Crop Land")],
        },
    ),
    "ucf101": (
        "ucf101/UCF-101-midframes",
        "ucf101/split_zhou_UCF101.json",
        {
            "train": [
                ("Apply_Eye_Makeup/v_ApplyEyeMakeup_g12_c03.jpg", 0, "Apply_Eye_Makeup"),
                ("Yo_Yo/v_YoYo_g25_c05.jpg", 1, "Yo_Yo"),
            ],
            "val": [("Yo_Yo/v_YoYo_g24_c01.jpg", 1, "Yo_Yo")],
            "test": [("Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c01.jpg", 0, "Apply_Eye_Makeup")],
        },
    ),
}

WIDE = (12, 8)


def save(path: Path, kind: str = "RGB") -> None:
    """Write a picture 12 wide and 8 high, of one of the kinds that real copies hold."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind in ("GIF", "PNG"):
        Image.new("P" if kind == "GIF" else "RGBA", WIDE).save(path, format=kind)
    elif kind == "EXIF":
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        Image.new("RGB", WIDE).save(path, format="JPEG", exif=exif)
    else:
        Image.new(kind, WIDE).save(path, format="JPEG")


KINDS = ("GIF", "PNG", "CMYK", "L", "EXIF")


def write_split_copy(key: str, root: Path) -> dict[str, list]:
    """Write the copy of a dataset with a split file; its images are of every odd kind."""
    images, split_file, split = SPLITS[key]
    for number, entry in enumerate([e for part in split.values() for e in part]):
        save(root / images / entry[0], KINDS[number % len(KINDS)])
    (root / split_file).write_text(json.dumps(split))
    return split


def write_aircraft(root: Path, header: bool = False) -> None:
    """Write FGVC Aircraft with names that hold spaces and slashes."""
    folder = root / "fgvc_aircraft"
    names = ["707-320", "Boeing 717", "F/A-18"]
    parts = {"train": [0, 1, 2], "val": [2], "test": [1, 1]}
    number = 0
    for part, labels in parts.items():
        lines = []
        for label in labels:
            number += 1
            save(folder / "images" / f"{number:07d}.jpg", KINDS[number % len(KINDS)])
            lines.append(f"{number:07d} {names[label]}\n")
        (folder / f"images_variant_{part}.txt").write_text("".join(lines))
    lines = ["variant\n"] * header + [f"{name}\n" for name in names]
    (folder / "variants.txt").write_text("".join(lines))


def wnid(number: int) -> str:
    """Return a folder name as ImageNet has them, in the order of `number`."""
    return f"n{1440764 + 7 * number:08d}"


def imagenet_names() -> list[str]:
    """Return 1,000 names of which four are two pairs, as in CLIP's list."""
    names = [f"class {number}" for number in range(1000)]
    names[657] = names[744] = "missile"
    names[836] = names[837] = "sunglasses"
    return names


def write_classnames(folder: Path) -> None:
    """Write classnames.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{wnid(n)} {name}\n" for n, name in enumerate(imagenet_names())]
    (folder / "classnames.txt").write_text("".join(lines))


def write_class_folders(folder: Path, names: list[str], images: int) -> None:
    """Write `images` pictures in each of the class folders `names`, the last first."""
    first = folder / ".first.jpg"
    save(first)
    for name in reversed(names):
        (folder / name).mkdir()
        for number in reversed(range(images)):
            (folder / name / f"{name}_{number}.JPEG").hardlink_to(first)
