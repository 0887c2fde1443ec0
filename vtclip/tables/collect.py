"""All results below a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vtclip.errors import UserError
from vtclip.results import RESULT_FILE, NotAResult, Result, UnreadableResult, read_result
from vtclip.tables.logs import is_log
from vtclip.tables.names import OWN_PHOTOS


@dataclass(frozen=True)
class Run:
    """A result and the folder that it lies in."""

    folder: Path
    result: Result


@dataclass
class Collection:
    """What lies below a folder.

    Attributes:
        runs: the results, in the order of their paths.
        foreign: each result.json of another program.
        unfinished: the folders with a log but no result: unfinished, or not run by us.
        links: links to folders outside, which are not followed.
        damaged: a sentence about each result, or folder, that cannot be read.
    """

    runs: list[Run] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def collect(root: Path) -> Collection:
    """Read every result.json below `root`, hidden folders aside.

    Raises:
        UserError: `root` is not a folder, or holds no result of ours that can be read.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder.")
    found = Collection()

    def note_unreadable(error: OSError) -> None:
        found.damaged.append(f"{error.filename}: cannot be read ({error.strerror})")

    inside = os.path.realpath(root)
    for name, folders, files in os.walk(root, onerror=note_unreadable):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for link in (Path(name, f) for f in folders if Path(name, f).is_symlink()):
            if not Path(os.path.realpath(link)).is_relative_to(inside):
                found.links.append(link)
        if RESULT_FILE in files:
            _read(found, Path(name))
        elif any(map(is_log, files)):
            found.unfinished.append(Path(name))
    if not found.runs:
        raise _no_results(root, found)
    return found


def _read(found: Collection, folder: Path) -> None:
    path = folder / RESULT_FILE
    try:
        if path.exists() and not path.is_file():  # reading a pipe would never end
            raise UserError(f"{path}: not a regular file.")
        found.runs.append(Run(folder, read_result(path)))
    except UnreadableResult as error:
        found.damaged.append(str(error).removesuffix("."))
    except NotAResult:
        found.foreign.append(path)
    except UserError as error:
        found.damaged.append(str(error).removesuffix("."))
    except OSError as error:  # a folder that may be listed and not entered
        found.damaged.append(f"{path}: cannot be read ({error.strerror})")


def _no_results(root: Path, found: Collection) -> UserError:
    if found.damaged:
        more = f" (and {len(found.damaged) - 1} more like it)" if len(found.damaged) > 1 else ""
        return UserError(f"{found.damaged[0]}{more}.")
    others = f" but of other programs ({found.foreign[0]})" if found.foreign else ""
    links = f"; links are not followed ({found.links[0]})" if found.links else ""
    return UserError(
        f"{root}: no {RESULT_FILE} anywhere below it{others}{links}; logs alone make no table."
    )


def without_repeats(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Part `runs` into those that count and those that only repeat one of them.

    Evaluating a run again on the same images is no second seed. Nor is a run without shots that
    was made for several shot counts: its figure is the same.
    """
    trained = {(os.path.realpath(run.folder), _images(run.result)) for run in runs}
    counted: list[Run] = []
    repeats: list[Run] = []
    without_shots: set[tuple[object, ...]] = set()
    for run in runs:
        r = run.result
        again = bool(r.evaluated) and (os.path.realpath(r.evaluated), _images(r)) in trained
        if r.shots == 0:
            figure = (r.method, *_images(r), r.seed, r.config_digest, r.accuracy)
            again = again or figure in without_shots
            without_shots.add(figure)
        (repeats if again else counted).append(run)
    return counted, repeats


def own_photos(result: Result) -> str:
    """Return the folder of photos that a user brought, "" for a run on anything else."""
    return result.dataset_root if result.dataset == OWN_PHOTOS else ""


def _images(result: Result) -> tuple[str, ...]:
    # a file of features has one name too, and its digest is that of the weights
    weights = result.backbone, result.backbone_fingerprint
    return *weights, result.dataset, own_photos(result), result.split, result.classes
