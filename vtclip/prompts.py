"""Prompt templates, one place for all of them.

Sources: CoOp (arXiv 2109.01134) for the template of each dataset, Tip-Adapter (arXiv 2207.09519)
for the ensemble of seven.
"""

from __future__ import annotations

from collections.abc import Sequence

from vtclip.errors import UserError

PHOTO = "a photo of a {}."

TEMPLATES: dict[str, str] = {
    "Caltech101": PHOTO,
    "StanfordCars": PHOTO,
    "SUN397": PHOTO,
    "ImageNet": PHOTO,
    "ImageNetV2": PHOTO,
    "ImageNetSketch": PHOTO,
    "ImageNetA": PHOTO,
    "ImageNetR": PHOTO,
    "OxfordPets": "a photo of a {}, a type of pet.",
    "OxfordFlowers": "a photo of a {}, a type of flower.",
    "FGVCAircraft": "a photo of a {}, a type of aircraft.",
    "DescribableTextures": "{} texture.",
    "EuroSAT": "a centered satellite photo of {}.",
    "Food101": "a photo of {}, a type of food.",
    "UCF101": "a photo of a person doing {}.",
    "Digits": "a photo of the number {}.",
}

ENSEMBLE: tuple[str, ...] = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


def check_template(template: str) -> str:
    """Return `template` if it has exactly one place `{}` for the class name.

    Raises:
        UserError: it has none, or more than one.
    """
    if template.count("{}") != 1 or template.replace("{}", "").count("{"):
        raise UserError(
            f"DATASET.TEMPLATE: {template!r} needs exactly one {{}} for the class name."
        )
    return template


def templates_for(kind: str, dataset: str, template: str) -> tuple[str, ...]:
    """Return the prompt templates of a run.

    Args:
        kind: "single" (the dataset's own), "ensemble", or "imagenet": the ensemble on ImageNet, as
            Tip-Adapter has it, and single elsewhere, as CoOp has it; "imagenet+single" adds the
            dataset's own to the ensemble, as TaskRes has it.
        dataset: DATASET.NAME.
        template: the dataset's own.
    """
    if kind == "imagenet+single":
        return (*ENSEMBLE, template) if dataset == "ImageNet" else (template,)
    ensemble = kind == "ensemble" or (kind == "imagenet" and dataset == "ImageNet")
    return ensemble_for(dataset, template) if ensemble else (template,)


def ensemble_for(dataset: str, template: str) -> tuple[str, ...]:
    """Return the templates of the prompt ensemble of a dataset.

    ImageNet uses the seven alone; every other dataset adds its own template, as CoOp's
    ZeroshotCLIP2 does.
    """
    return ENSEMBLE if dataset == "ImageNet" else (*ENSEMBLE, template)


def fill(template: str, classnames: Sequence[str]) -> list[str]:
    """Return one prompt per class; `_` in class names becomes a space, as in CoOp."""
    return [template.format(name.replace("_", " ")) for name in classnames]
