"""Stanford Cars: make, model and year."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from vtclip.errors import UserError

from .base import SplitDataset
from .matlab import read_variable
from .sources import split_from_drive
from .split import Sizes


@DATASET_REGISTRY.register()
class StanfordCars(SplitDataset):
    """Krause et al. (2013): 196 cars; names start with the year, "2012 Audi TTS Coupe"."""

    key = "stanford_cars"
    dataset_dir = "stanford_cars"
    image_dir = ""
    split_file = "split_zhou_StanfordCars.json"
    sizes = Sizes(6509, 1635, 8041, 196)
    sources = (
        split_from_drive(
            "1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT",
            "stanford_cars/split_zhou_StanfordCars.json",
            sha256="40acee7aa65c8e4727a32d90e884b7c3f8960b523422317e163f7af65432959d",
        ),
    )
    manual = (
        "The addresses at Stanford are dead. Get cars_train.tgz and cars_test.tgz from a colleague "
        "or a mirror and unpack both into {root}/stanford_cars, so that it holds "
        "cars_train/00001.jpg and cars_test/00001.jpg."
    )

    def names_of(self, paths: list[str]) -> dict[str, str]:
        """Return the car in each image, year first, by the devkit's annotations.

        Raises:
            UserError: devkit/cars_meta.mat, devkit/cars_train_annos.mat or
                cars_test_annos_withlabels.mat is missing or wrong in the dataset's folder.
        """
        names = read_variable(self.folder / "devkit/cars_meta.mat", "class_names")
        found = {}
        for folder, file in (
            ("cars_train", "devkit/cars_train_annos.mat"),
            ("cars_test", "cars_test_annos_withlabels.mat"),
        ):
            images = read_variable(self.folder / file, "annotations")
            try:
                for image in images:
                    car = str(names[int(image["class"][0, 0]) - 1][0])
                    model, _, year = car.rpartition(" ")
                    found[f"{folder}/{image['fname'][0]}"] = f"{year} {model}"
            except (LookupError, ValueError, TypeError) as error:
                raise UserError(
                    f"{self.folder / file}: not the annotations of Stanford Cars ({error})."
                ) from error
        return {path: found[path] for path in paths if path in found}
