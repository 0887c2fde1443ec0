"""Runs parted into tables by what they are: backbone, whose photos, trained there or evaluated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vtclip.results import Result
from vtclip.run_folder import own_data_label
from vtclip.tables.collect import Run, own_photos


@dataclass(frozen=True, order=True)
class Section:
    """What the runs of one table have in common.

    Attributes:
        backbone, fingerprint: its name, and the start of the digest of its weights, or of the file
            of features.
        photos: the label of a folder of photos that a user brought, as in the names of output
            folders; "" for any other dataset.
        evaluated: models trained elsewhere, evaluated on these images.
        classes: "all", "base" or "new".
    """

    backbone: str
    fingerprint: str
    photos: str
    evaluated: bool
    classes: str

    @property
    def kind(self) -> str:
        """In words, without the backbone; "" for all classes of a dataset, trained on it."""
        parts = [
            f"photos of {self.photos}" if self.photos else "",
            "evaluated from a checkpoint" if self.evaluated else "",
            f"{self.classes} classes" if self.classes != "all" else "",
        ]
        return ", ".join(part for part in parts if part)


def section_of(result: Result) -> Section:
    """Return the section of a result; one without shots is trained nowhere, so not evaluated."""
    return Section(
        result.backbone,
        result.backbone_fingerprint[:12],
        own_data_label(result.dataset, Path(folder)) if (folder := own_photos(result)) else "",
        bool(result.evaluated) and result.shots != 0,
        result.classes,
    )


def sections_of(runs: Sequence[Run]) -> list[tuple[Section, list[Run]]]:
    """Part `runs` into sections, in order.

    A run without shots stands beside all runs with shots on its images, trained there or not, and
    so it may be in two sections.
    """
    found: dict[Section, list[Run]] = defaultdict(list)
    datasets: dict[Section, set[str]] = defaultdict(set)
    for run in runs:
        if run.result.shots != 0:
            datasets[section_of(run.result)].add(run.result.dataset)
    for run in runs:
        own = section_of(run.result)
        places = [own]
        if run.result.shots == 0:
            alike = [replace(own, evaluated=evaluated) for evaluated in (False, True)]
            places = [s for s in alike if run.result.dataset in datasets.get(s, ())] or [own]
        for place in places:
            found[place].append(run)
    return sorted(found.items())
