"""The model card of a finished run, in Markdown for a model hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vtclip.export.facts import backbone_of, has_weights_of_its_own, preprocessing_of
from vtclip.results import Result
from vtclip.saved_model import SavedModel

HEADER = """\
---
library_name: vtclip
pipeline_tag: image-classification
tags:
- clip
- few-shot
---
"""
LICENCE = """\
TO BE FILLED IN by whoever publishes this folder, here and as `license:` in the first lines of this
file. What was trained depends on the weights of the backbone and on the training images, whose
licences may restrict it.
"""
# what Markdown or HTML may take for a sign of its own
SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$&:@])")


def card_of(model: SavedModel, result: Result) -> str:
    """Return the model card.

    Args:
        model: of the run.
        result: of the same run.
    """
    title = f"# {escaped(result.method)} on {escaped(result.dataset)}\n"
    sections = [
        (None, _what_it_is(model)),
        ("How it was trained", _training(model, result)),
        ("How to load it", _loading(model)),
        ("Preprocessing", _preprocessing(model)),
        ("Limits", _limits(model, result)),
        ("Licence", LICENCE),
        ("Classes", _classes(model.classnames)),
    ]
    parts = [f"## {name}\n\n{text}" if name else text for name, text in sections]
    return "\n".join([HEADER + title, *parts])


def escaped(text: str) -> str:
    r"""Return text as Markdown shows it, in one line.

    >>> print(escaped("a|b *c* <i>"))
    a\|b \*c\* \<i\>
    """
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _what_it_is(model: SavedModel) -> str:
    return (
        f"A classifier of images into {len(model.classnames)} classes: the method "
        f"{escaped(model.trainer)} on the frozen CLIP {_backbone(model)}. This folder holds what "
        "was trained or fitted and the text features of the classes, not the weights of the "
        "backbone.\n"
    )


def _training(model: SavedModel, result: Result) -> str:
    chosen = ", ".join(f"{name} = {value:g}" for name, value in model.selected_params.items())
    versions = (f"{name} {value}" for name, value in result.versions.items() if name != "clip")
    rows = [
        ("dataset", escaped(result.dataset)),
        ("classes", {"all": "all", "base": "base half", "new": "new half"}[result.classes]),
        ("shots per class", "all" if result.shots < 0 else str(result.shots)),
        ("seed", str(result.seed)),
        ("epochs", str(result.epochs)),
        ("trainable parameters", f"{result.trainable_parameters:,}"),
        ("selected on", escaped(result.selected_on)),
        ("hyper-parameters chosen", escaped(chosen) or "none"),
        ("prompts", "; ".join(map(escaped, model.templates))),
        ("versions", escaped(", ".join(versions))),
    ]
    images = f"{result.total} {result.split} images"
    return f"{_table(('', 'value'), rows)}\nOn {images}, by one run of this seed:\n\n" + _table(
        ("", "accuracy"),
        [
            (escaped(result.method), f"{result.accuracy:.2f} %"),
            ("zero-shot CLIP, same prompts", f"{result.zero_shot_accuracy:.2f} %"),
        ],
    )


def _loading(model: SavedModel) -> str:
    if not model.from_images:
        return (
            "The run was on a file of features, so it classifies features, not images:\n\n"
            "```python\n"
            "from vtclip.predictor import restore_trainer\n\n"
            'trainer = restore_trainer("path/of/this/folder").trainer\n'
            "```\n"
        )
    argument = ', backbone="path/of/the/weights"' if has_weights_of_its_own(model) else ""
    return (
        "With vtclip installed, from a checkout of it:\n\n"
        "```python\n"
        "import vtclip\n\n"
        f'predictor = vtclip.load("path/of/this/folder"{argument})\n'
        'print(predictor.predict(["image.jpg"])[0].top)\n'
        "```\n\n"
        f"The weights of the backbone {_backbone(model)} are needed beside it; others are refused "
        "by their fingerprint.\n"
    )


def _preprocessing(model: SavedModel) -> str:
    steps = preprocessing_of(model)
    if steps is None:
        return "Not known: the run was on a file of features.\n"
    height, width = steps["crop_centre"]
    lines = [
        f"- RGB, shorter side to {steps['resize_shorter_side']} pixels "
        f"({escaped(str(steps['interpolation']))}), centre crop {height} x {width}, values 0 to 1",
    ]
    if steps["mean"] is not None:
        lines.append(f"- minus mean {steps['mean']}, divided by standard deviation {steps['std']}")
    if steps["instance_norm"]:
        lines.append("- then each channel of each image to mean 0 and variance 1")
    return "\n".join(lines) + "\n"


def _limits(model: SavedModel, result: Result) -> str:
    lines = [
        "It chooses among its own classes for every image, also for one of none of them.",
        "The accuracy is that of one seed on one dataset; on other images it may be lower.",
        "The biases of the data that the backbone was trained on are in it.",
    ]
    if result.accuracy < result.zero_shot_accuracy:
        lines.append("On these images it is less accurate than zero-shot CLIP.")
    if result.ece is not None:
        lines.append(
            "Its probabilities are not those of being right: their expected calibration error is "
            f"{result.ece:.1f} %."
        )
    shared = [f"{n} {split}" for split, n in result.overlap.items() if n]
    if shared:
        lines.append(f"Among the test images were {' and '.join(shared)} images.")
    if not result.comparable:
        lines.append("The split is not the official one, so published figures are of other images.")
    return "".join(f"- {line}\n" for line in lines)


def _classes(classnames: Sequence[str]) -> str:
    return _table(("label", "class"), ((str(n), escaped(c)) for n, c in enumerate(classnames)))


def _backbone(model: SavedModel) -> str:
    name = escaped(backbone_of(model))
    return f"{name} (fingerprint `{model.backbone_fingerprint[:12]}`)"


def _table(header: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = (f"| {one} | {other} |" for one, other in [header, ("---", "---"), *rows])
    return "".join(f"{line}\n" for line in lines)
