"""FGVC Aircraft: variants of aircraft."""

from __future__ import annotations

from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY

from vtclip.errors import UserError

from .base import ImageDataset
from .sources import Archive, Remote
from .split import PARTS, Item, Lists, Sizes, normal_path
from .textfiles import read_lines

LISTS = ("variants.txt", *(f"images_variant_{part}.txt" for part in PARTS))


@DATASET_REGISTRY.register()
class FGVCAircraft(ImageDataset):
    """Maji et al. (2013): 100 variants, with lists of its own in place of a split file."""

    key = "fgvc_aircraft"
    dataset_dir = "fgvc_aircraft"
    sizes = Sizes(3334, 3333, 3333, 100)
    sources = (
        Archive(
            Remote(
                (
                    "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/"
                    "fgvc-aircraft-2013b.tar.gz",
                ),
                "fgvc-aircraft-2013b.tar.gz",
            ),
            tuple(
                (f"fgvc-aircraft-2013b/data/{name}", f"fgvc_aircraft/{name}")
                for name in ("images", *LISTS)
            ),
        ),
    )

    def read(self, allow_random: bool) -> Lists:
        """Read the three lists; the label of a variant is its line in variants.txt.

        Nothing else tells which variant an image shows, so there is no random split to make.
        """
        rows = {name: self._rows(self.folder / name) for name in LISTS[1:]}
        variants = read_lines(self.folder / LISTS[0], self.remedy)
        # some copies begin with a header line, which would shift every label
        if variants[0] not in {variant for part in rows.values() for _, variant in part}:
            variants = variants[1:]
        labels = {variant: label for label, variant in enumerate(variants)}
        for name, part in rows.items():
            for _, variant in part:
                if variant not in labels:
                    raise UserError(f"{self.folder / name}: {variant!r} is not in {LISTS[0]}.")
        train, val, test = (
            [Item(f"{self.dataset_dir}/images/{image}.jpg", labels[v], v) for image, v in part]
            for part in rows.values()
        )
        lists = Lists(train, val, test)
        self.require_images(lists)
        return lists

    def _rows(self, path: Path) -> list[tuple[str, str]]:
        rows = []
        for line in read_lines(path, self.remedy):
            image, _, variant = line.partition(" ")
            normal = normal_path(image)
            if not normal:
                raise UserError(f"{path}: {image!r} lies outside the image folder.")
            rows.append((normal, variant))
        return rows
