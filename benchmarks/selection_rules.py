"""Rules that choose a point of a grid on few validation images, by what they lose.

    python -m benchmarks.selection_rules --bank caltech41_vitb32.npz --data data

Every method is trained on few-shot lists drawn from the training images, and all points of its grid
are scored on all validation images of the bank, whose test images are never read. These are split
again and again: into min(shots, 4) per class that a rule may see, and two halves of the rest. The
first half plays test; the second stands for a validation list of hundreds of images. What a rule
loses is the difference to the best point of the grid on the half that plays test. The digits with
backbone tiny are the second bank.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import mean
from typing import Any
from unittest import mock

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

import train
from benchmarks.machine import write_results
from datasets.base import ImageDataset
from datasets.feature_bank import FeatureBank
from datasets.sampling import MAX_VAL_SHOTS
from datasets.split import Item, Lists
from vtclip.methods.proker import held_out, residuals
from vtclip.methods.tip_adapter import cache_logits
from vtclip.methods.zero_shot import cosine_logits
from vtclip.plugins import import_modules
from vtclip.results import Search
from vtclip.search import log_likelihood, nearly_best, nearly_most_gain

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
GLOBAL_ONLY = {
    "TipAdapter": (),
    "TipAdapterF": (),
    "ProKeR": (),
    "CLIPAdapter": ("--config-file", str(CONFIGS / "trainers" / "CLIPAdapter" / "tuned.yaml")),
}
WITH_SPATIAL = {**GLOBAL_ONLY, "CALIP": (), "VTCLIP": ()}
SHOTS, SEEDS = (1, 2, 4, 8, 16), (1, 2, 3)
NEARNESS_BYTES = 2**26


@dataclass(frozen=True)
class Scored:
    """All points of a method's grid on the validation images.

    Attributes:
        shape: values of each name of the grid.
        logits: [P, N, K].
        labels: [N].
        zero_shot: [N, K].
        left_out: log-likelihoods [P, M] of the support images, each left out of its own support;
            None where the method has none in closed form.
        left_out_zero_shot: [M], of zero-shot CLIP.
    """

    shape: tuple[int, ...]
    logits: Tensor
    labels: Tensor
    zero_shot: Tensor
    left_out: Tensor | None
    left_out_zero_shot: Tensor


def points_of(grid: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    """Return the points of a grid, in the order of a search."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


# ---- scoring the grids


def all_validation(self: ImageDataset, lists: Lists, shots: int) -> tuple[list[Item], list[Item]]:
    """Draw the shots of training, and take all validation images (`ImageDataset.few_shots`)."""
    return self.sample(lists.train, shots), lists.val


@contextmanager
def grids_noted(noted: list[tuple[Tensor, dict[str, Sequence[float]]]]) -> Iterator[None]:
    """Note the logits [P, N, K] and the grid of each search, which chooses its first point."""

    def note(logits: Callable[..., Tensor], labels: Tensor, grid: Any, **_: Any) -> Search:
        points = points_of(grid)
        with torch.no_grad():
            noted.append((torch.stack([logits(**point).float() for point in points]), dict(grid)))
        return Search("val", dict(grid), points[0], 0.0)

    with ExitStack() as stack:
        for cls in (ImageDataset, FeatureBank):
            stack.enter_context(mock.patch.object(cls, "few_shots", all_validation))
        for name, module in list(sys.modules.items()):
            if name.startswith("trainers.") and hasattr(module, "grid_search"):
                stack.enter_context(mock.patch.object(module, "grid_search", note))
        yield


def score_grid(
    method: str, shots: int, seed: int, arguments: Sequence[str], folder: Path
) -> Scored:
    """Train a method and score its grid on all validation images."""
    from dassl.engine import build_trainer
    from dassl.utils import set_random_seed

    output = folder / "-".join((method, str(shots), str(seed), str(time.time_ns())))
    run = ("--trainer", method, "--shots", str(shots), "--output-dir", str(output))
    weight = ("TRAINER.VTCLIP.SEARCH_WEIGHT", "True", "TRAIN.PRINT_FREQ", "1000")
    noted: list[tuple[Tensor, dict[str, Sequence[float]]]] = []
    with grids_noted(noted), redirect_stdout(StringIO()):
        args = train.parse_args([*run, *arguments, *weight])
        cfg, _ = train.plan_of(args).run(seed, several=False)
        set_random_seed(cfg.SEED)
        trainer = build_trainer(cfg)
        # the test images stay unread
        with mock.patch.object(trainer, "test", lambda split=None: 0.0):
            trainer.train()
        if not noted:
            trainer.search()
    (logits, grid), (val, labels) = noted[0], trainer.features("val")
    support, support_labels = trainer.features("train")

    def zero_shot(features: Any) -> Tensor:
        return cosine_logits(features.global_features, trainer.text_features, trainer.scale)

    left_out = LEFT_OUT.get(method)
    return Scored(
        shape=tuple(len(values) for values in grid.values()),
        logits=logits,
        labels=labels,
        zero_shot=zero_shot(val),
        left_out=left_out(trainer, zero_shot(support), support_labels, grid) if left_out else None,
        left_out_zero_shot=log_likelihood(zero_shot(support), support_labels),
    )


def tip_adapter_left_out(trainer: Any, zero_shot: Tensor, labels: Tensor, grid: Any) -> Tensor:
    """Score support images by the cache without their own keys, [P, N]."""
    g = trainer.features("train")[0].global_features
    keys, key_labels = trainer.cache()
    n_classes = zero_shot.shape[1]
    own = (torch.nn.functional.normalize(g, dim=-1) * keys).sum(dim=1)
    found = []
    for beta in grid["beta"]:
        cached = cache_logits(g, keys, key_labels, n_classes, beta)
        cached[torch.arange(len(g)), labels] -= torch.exp(-beta * (1 - own))
        found += [log_likelihood(zero_shot + alpha * cached, labels) for alpha in grid["alpha"]]
    return torch.stack(found)


def proker_left_out(trainer: Any, zero_shot: Tensor, labels: Tensor, grid: Any) -> Tensor:
    """Score support images by the kernel regression without them, in closed form, [P, N]."""
    support = trainer.fitted["support"]
    residual = residuals(support, labels, trainer.text_features)
    found = [
        log_likelihood(zero_shot + trainer.scale * held_out(support, residual, beta, lam), labels)
        for beta, lam in itertools.product(grid["beta"], grid["lam"])
    ]
    return torch.stack(found)


LEFT_OUT = {"TipAdapter": tip_adapter_left_out, "ProKeR": proker_left_out}


# ---- rules


@dataclass(frozen=True)
class Seen:
    """What a rule may see of the images that it chooses on.

    Attributes:
        correct: [P], numbers of correct images.
        found: [P, N], log-likelihoods.
        zero_shot: [N], of zero-shot CLIP.
        distance: [P], total variation between the probabilities and those of zero-shot CLIP.
        shape, left_out, left_out_zero_shot: see :class:`Scored`.
    """

    correct: Tensor
    found: Tensor
    zero_shot: Tensor
    distance: Tensor
    shape: tuple[int, ...]
    left_out: Tensor | None
    left_out_zero_shot: Tensor

    @property
    def tied(self) -> Tensor:
        """The most accurate points, [P]."""
        return self.correct == self.correct.max()

    @property
    def nearly_best(self) -> Tensor:
        """The points within one standard error of the most accurate, [P]."""
        return nearly_best(self.correct, len(self.zero_shot))

    def nearest(self, errors: float) -> int:
        """Return the accurate point nearest to zero-shot CLIP of those of about the most gain."""
        good = nearly_most_gain(self.found, self.zero_shot, self.nearly_best, errors)
        return best_of(-self.distance, good)

    def surest(self, errors: float) -> int:
        """Return the accurate point of the largest mean gain less so many standard errors."""
        gain = self.found - self.zero_shot
        error = gain.std(dim=1, correction=0) / gain.shape[1] ** 0.5
        return best_of(gain.mean(dim=1) - errors * error, self.nearly_best)


def best_of(quality: Tensor, among: Tensor) -> int:
    """Return the first point of the highest quality among those that are marked."""
    return int(quality.where(among, -torch.inf).argmax())


def centre(seen: Seen) -> int:
    """Return the most accurate point next to the mean place of all of them in the grid."""
    places = torch.cartesian_prod(*(torch.arange(float(n)) for n in seen.shape)).view(
        len(seen.correct), -1
    )
    return best_of(-(places - places[seen.tied].mean(dim=0)).square().sum(dim=1), seen.tied)


def with_left_out(seen: Seen) -> int:
    """Return the point of the lowest cross-entropy on validation and on support left out."""
    found = [seen.found] if seen.left_out is None else [seen.found, seen.left_out]
    return int(torch.cat(found, dim=1).mean(dim=1).argmax())


def left_out_alone(seen: Seen) -> int:
    """Return the point of the lowest cross-entropy on support left out, where there is that."""
    found = seen.found if seen.left_out is None else seen.left_out
    return int(found.mean(dim=1).argmax())


CHOSEN = "accurate, gain within 0.5 SE of the most, nearest"
RULES: dict[str, Callable[[Seen], int]] = {
    "most accurate, lowest cross-entropy (earlier)": lambda s: best_of(s.found.mean(dim=1), s.tied),
    "most accurate, first": lambda s: int(s.tied.nonzero()[0]),
    "most accurate, last": lambda s: int(s.tied.nonzero()[-1]),
    "most accurate, centre of the plateau": centre,
    "most accurate, nearest": lambda s: best_of(-s.distance, s.tied),
    "lowest cross-entropy": lambda s: int(s.found.mean(dim=1).argmax()),
    "accurate, lowest cross-entropy": lambda s: best_of(s.found.mean(dim=1), s.nearly_best),
    "accurate, nearest": lambda s: best_of(-s.distance, s.nearly_best),
    "accurate, largest gain less 1 SE": lambda s: s.surest(1.0),
    "accurate, gain within 0.25 SE of the most, nearest": lambda s: s.nearest(0.25),
    CHOSEN: lambda s: s.nearest(0.5),
    "accurate, gain within 1 SE of the most, nearest": lambda s: s.nearest(1.0),
    "lowest cross-entropy of support left out": left_out_alone,
    "the same of support left out and validation": with_left_out,
}
MANY = "earlier rule on half of the other images"
PLATEAU, GRID, ZERO_SHOT = "mean logits of the plateau", "mean logits of the grid", "zero-shot CLIP"
NOT_BELOW = 1e-9


# ---- splitting


def distances(scored: Scored) -> Tensor:
    """Return the total variation between each point and zero-shot CLIP on each image, [P, N]."""
    reference = scored.zero_shot.softmax(dim=1)
    step = max(1, NEARNESS_BYTES // (4 * reference.numel()))
    return torch.cat(
        [
            (part.softmax(dim=2) - reference).abs().sum(dim=2) / 2
            for part in scored.logits.split(step)
        ]
    )


def split(labels: Tensor, shots: int, draw: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return the images that choose, that play test and that are left, each [N] and bool.

    A class keeps at least half of its images for test.
    """
    order = torch.from_numpy(draw.permutation(len(labels)))
    chooses = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        own = order[labels[order] == label]
        chooses[own[: min(shots, MAX_VAL_SHOTS, max(1, len(own) // 2))]] = True
    rest = order[~chooses[order]]
    tests = torch.zeros_like(chooses)
    tests[rest[: len(rest) // 2]] = True
    return chooses, tests, ~chooses & ~tests


def lost(scored: Scored, shots: int, seed: int, repetitions: int) -> dict[str, list[float]]:
    """Return by rule the accuracy on the images that play test, in per cent, of each split.

    "best" is that of the best point, "tied" the number of the most accurate points.
    """
    draw = np.random.default_rng(seed)
    labels = scored.labels
    correct = scored.logits.argmax(dim=2) == labels
    zero_correct = scored.zero_shot.argmax(dim=1) == labels
    found = torch.stack([log_likelihood(logits, labels) for logits in scored.logits])
    zero_found, away = log_likelihood(scored.zero_shot, labels), distances(scored)
    mean_of_grid = scored.logits.mean(dim=0).argmax(dim=1) == labels
    accuracies: dict[str, list[float]] = defaultdict(list)
    for _ in range(repetitions):
        chooses, tests, left = split(labels, shots, draw)

        def seen(images: Tensor) -> Seen:
            return Seen(
                *(correct[:, images].sum(dim=1), found[:, images], zero_found[images]),
                *(away[:, images].mean(dim=1), scored.shape),
                *(scored.left_out, scored.left_out_zero_shot),
            )

        few = seen(chooses)
        accuracy = 100 * correct[:, tests].float().mean(dim=1)
        for name, rule in RULES.items():
            accuracies[name].append(float(accuracy[rule(few)]))
        many = seen(left)
        accuracies[MANY].append(float(accuracy[best_of(many.found.mean(dim=1), many.tied)]))
        plateau = scored.logits[few.tied][:, tests].mean(dim=0).argmax(dim=1) == labels[tests]
        for name, right in (
            (PLATEAU, plateau),
            (GRID, mean_of_grid[tests]),
            (ZERO_SHOT, zero_correct[tests]),
        ):
            accuracies[name].append(100 * float(right.float().mean()))
        accuracies["best"].append(float(accuracy.max()))
        accuracies["tied"].append(float(few.tied.sum()))
    return accuracies


# ---- tables


Cell = tuple[str, int]


def table(cells: Mapping[Cell, Mapping[str, Sequence[float]]]) -> str:
    """Return a row per rule: what it loses in points, and how often it falls below zero-shot."""
    methods = list(dict.fromkeys(method for method, _ in cells))

    def loss(name: str, *, method: str = "", shots: int = 0) -> float:
        return mean(
            best - accuracy
            for (m, s), found in cells.items()
            if method in ("", m) and shots in (0, s)
            for best, accuracy in zip(found["best"], found[name], strict=True)
        )

    def under(name: str) -> list[float]:
        return [
            min(0.0, accuracy - zero)
            for found in cells.values()
            for accuracy, zero in zip(found[name], found[ZERO_SHOT], strict=True)
        ]

    rows = []
    for name in (*RULES, PLATEAU, GRID, ZERO_SHOT, MANY):
        below = under(name)
        rows.append(
            [
                f"**{name}**" if name == CHOSEN else name,
                *(loss(name), *(loss(name, method=m) for m in methods)),
                *(loss(name, shots=s) for s in SHOTS),
                *(100 * mean(b < -NOT_BELOW for b in below), mean(below)),
            ]
        )
    heads = ["rule", "mean", *methods, *map(str, SHOTS), "below, %", "by, points"]
    return tabulate(
        rows, heads, "github", floatfmt=(*["", *[".2f"] * (len(heads) - 3)], ".0f", ".3f")
    )


def tied_table(
    cells: Mapping[Cell, Mapping[str, Sequence[float]]], sizes: Mapping[str, int]
) -> str:
    """Return how many points of each method's grid were the most accurate, by shots."""
    rows = [
        [method, size, *(mean(cells[method, shots]["tied"]) for shots in SHOTS)]
        for method, size in sizes.items()
    ]
    return tabulate(rows, ["method", "points", *map(str, SHOTS)], "github", floatfmt=".0f")


# ---- command line


def without_test_images(bank: Path, folder: Path) -> Path:
    """Write a copy of a bank that draws its shots and has no test images.

    The texts stand in their place, since a bank must have some; no score of them is read.
    """
    arrays = dict(np.load(bank, allow_pickle=False))
    kept = ("classnames", "text", "val_x", "val_y", "val_spatial", "logit_scale", "template")
    most = max(int(n[4:-2]) for n in arrays if n.startswith("shot") and n.endswith("_x"))
    new = {name: arrays[name] for name in kept if name in arrays}
    for part in ("x", "y", "spatial"):
        if f"shot{most}_{part}" in arrays:
            new[f"train_{part}"] = arrays[f"shot{most}_{part}"]
    new["test_x"], new["test_y"] = arrays["text"], np.arange(len(arrays["text"]))
    if "val_spatial" in arrays:
        new["test_spatial"] = np.zeros(
            (len(arrays["text"]), *arrays["val_spatial"].shape[1:]), np.float16
        )
    path = folder / bank.name
    np.savez(path, **new)
    return path


def compare(
    methods: Mapping[str, Sequence[str]],
    arguments: Sequence[str],
    folder: Path,
    repetitions: int,
) -> dict[str, Any]:
    """Score every method at every number of shots; print and return the tables."""
    cells: dict[Cell, dict[str, list[float]]] = {}
    sizes: dict[str, int] = {}
    for (method, options), shots in itertools.product(methods.items(), SHOTS):
        found: dict[str, list[float]] = defaultdict(list)
        for seed in SEEDS:
            scored = score_grid(method, shots, seed, (*options, *arguments), folder)
            sizes[method] = len(scored.logits)
            for name, values in lost(scored, shots, seed, repetitions).items():
                found[name] += values
        cells[method, shots] = found
        print(f"{method}, {shots} shots", file=sys.stderr, flush=True)
    report = {
        "losses": table(cells),
        "tied": tied_table(cells, sizes),
        "mean accuracy": {
            f"{method}, {shots}": {name: mean(values) for name, values in found.items()}
            for (method, shots), found in cells.items()
        },
    }
    print(report["losses"], "", report["tied"], "", sep="\n")
    return report


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=Path, action="append", default=[], help="file of features")
    parser.add_argument("--data", type=Path, help="data root of the digits")
    parser.add_argument("--repetitions", type=int, default=20, help="splits per list of images")
    options = parser.parse_args()
    started = time.perf_counter()
    import_modules(["trainers", "datasets"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for bank in options.bank:
            spatial = "val_spatial" in np.load(bank, allow_pickle=False)
            file = without_test_images(bank, folder)
            config = str(CONFIGS / "datasets" / "feature_bank.yaml")
            arguments = ("--dataset-config-file", config, "DATASET.FEATURE_BANK", str(file))
            methods = WITH_SPATIAL if spatial else GLOBAL_ONLY
            report = compare(methods, arguments, folder, options.repetitions)
            write_results(f"selection_rules_{bank.stem}", started, report)
        if options.data:
            root = ("--backbone", "tiny", "--root", str(options.data))
            report = compare(WITH_SPATIAL, root, folder, options.repetitions)
            write_results("selection_rules_digits", started, report)


if __name__ == "__main__":
    main()
