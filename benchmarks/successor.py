"""The parts of VTCLIPPlus, one changed at a time, on validation images of a dataset.

    python -m benchmarks.successor
    python -m benchmarks.successor --name caltech101 --only alone -- ARGUMENTS

As in benchmarks.selection_rules, min(shots, 4) validation images per class choose beta, lam and the
share of ProKeR, and accuracy is that on the other validation images. Test images are not read. The
ARGUMENTS are those of train.py that name dataset and backbone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from statistics import mean
from typing import Any
from unittest import mock

import numpy as np
import torch
from dassl.engine import build_trainer
from dassl.utils import set_random_seed
from tabulate import tabulate
from torch import Tensor
from torch.nn import functional as F

import train
from benchmarks.machine import write_results
from benchmarks.selection_rules import all_validation, split
from benchmarks.validated import add_arguments
from datasets.base import ImageDataset
from datasets.feature_bank import FeatureBank
from trainers import proker
from trainers.vtclip_plus import FIXED_SHARE, SHARES
from vtclip.errors import run_command
from vtclip.methods.ss_text import class_weights
from vtclip.plugins import import_modules
from vtclip.results import Search
from vtclip.search import grid_search

PROXIMITY = 1.0
LEAVE_OUT = ("TRAINER.VTCLIPPLUS.LEAVE_ONE_OUT", "True")
Change = Callable[[Any], None]


@dataclass(frozen=True)
class Parts:
    """The parts of the logits [N, K] of all validation images of a trained method.

    Attributes:
        zero_shot, guided, corrected: without weights.
        labels: [N].
        chooses: [N], bool, the images that choose.
    """

    zero_shot: Tensor
    guided: Tensor
    corrected: Tensor
    labels: Tensor
    chooses: Tensor

    @property
    def proker(self) -> Tensor:
        """ProKeR's logits, [N, K]."""
        return self.zero_shot + self.corrected

    def mixed(self, share: float) -> Tensor:
        """Return the mixture with so much of ProKeR, [N, K]."""
        return torch.lerp(self.guided, self.proker, share)

    def accuracy(self, logits: Tensor) -> float:
        """Return the accuracy on the images that choose nothing, in percent."""
        others = ~self.chooses
        right = logits[others].argmax(dim=1) == self.labels[others]
        return 100 * float(right.float().mean())

    def searched(self, reference: Tensor | None) -> Tensor:
        """Return the logits at the share that a search near a reference takes, [N, K]."""
        few = self.chooses
        found = grid_search(
            lambda share: self.mixed(share)[few],
            *(self.labels[few], {"share": SHARES}),
            reference=None if reference is None else reference[few],
        )
        return self.mixed(found.chosen["share"])


def trained(
    shots: int, seed: int, data: Sequence[str], options: Sequence[str], change: Change
) -> Parts:
    """Train a method on few-shot lists, after a change, and score its parts."""
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(StringIO()),
        mock.patch.object(ImageDataset, "few_shots", all_validation),
        mock.patch.object(FeatureBank, "few_shots", all_validation),
    ):
        run = ("--trainer", "VTCLIPPlus", "--shots", str(shots), "--output-dir", folder)
        args = train.parse_args([*run, *data, *options])
        cfg, _ = train.plan_of(args).run(seed, several=False)
        set_random_seed(cfg.SEED)
        trainer: Any = build_trainer(cfg)
        labels = trainer.features("val")[1]
        chooses, _, _ = split(labels, shots, np.random.default_rng(seed))
        change(trainer)

        search_kernel = proker.search_kernel

        def search_few(g: Tensor, labels: Tensor, *rest: Tensor, **facts: Any) -> Search:
            return search_kernel(g[chooses], labels[chooses], *rest, **facts)

        with (
            mock.patch.object(proker, "search_kernel", search_few),
            mock.patch.object(trainer, "test", lambda split=None: 0.0),
        ):
            trainer.train()
        trainer.set_model_mode("eval")
        zero_shot, guided, corrected = (
            trainer.scores("val", score)[0]
            for score in (
                trainer.zero_shot_logits,
                trainer.guided_logits,
                trainer.correction_logits,
            )
        )
    return Parts(zero_shot, guided, corrected, labels, chooses)


# ---- changes


def nothing(trainer: Any) -> None:
    """Change nothing."""


def texts_of_ss_text(trainer: Any) -> None:
    """Start from the class vectors of SS-Text in place of the texts."""
    features, labels = trainer.features("train")
    g = F.normalize(features.global_features, dim=-1)
    vectors = class_weights(trainer.text_features, g, labels, trainer.scale)
    trainer.text_features = F.normalize(vectors, dim=-1)


def near_the_texts(trainer: Any, shots: int) -> None:
    """Add the mean squared distance of the visual-guided texts from the texts, over the shots."""
    loss = trainer.loss

    def nearby(features: Any, label: Tensor) -> tuple[Tensor, Tensor]:
        value, logits = loss(features, label)
        away = trainer.moved_texts(features) - trainer.text_features
        return value + PROXIMITY / shots * away.square().sum(dim=-1).mean(), logits

    trainer.loss = nearby


# ---- the table


CHANGES: dict[str, Callable[[int], tuple[Sequence[str], Change]]] = {
    "alone": lambda shots: ((), nothing),
    "left out": lambda shots: (LEAVE_OUT, nothing),
    "left out, class vectors of SS-Text as T": lambda shots: (LEAVE_OUT, texts_of_ss_text),
    "left out, proximal term": lambda shots: (LEAVE_OUT, partial(near_the_texts, shots=shots)),
}


def accuracies(
    shots: int, seed: int, data: Sequence[str], changes: Sequence[str]
) -> dict[str, float]:
    """Return the accuracy of each row of the table."""
    found = {}
    for name in changes:
        parts = trained(shots, seed, data, *CHANGES[name](shots))
        rows = {
            "VT-CLIP": parts.guided,
            "ProKeR": parts.proker,
            "VT-CLIP + the correction": parts.guided + parts.corrected,
            **{f"share {share}": parts.mixed(share) for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)},
            f"share searched, near {FIXED_SHARE}": parts.searched(parts.mixed(FIXED_SHARE)),
            "share searched, near zero-shot CLIP": parts.searched(parts.zero_shot),
            "share searched, lowest cross-entropy": parts.searched(None),
        }
        found |= {f"{name}: {row}": parts.accuracy(logits) for row, logits in rows.items()}
    return found


def table(cells: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    """Return a row per part, its mean over the seeds by shots, and the mean of these."""
    rows = []
    for name, found in cells.items():
        means = [mean(values) for values in found.values()]
        rows.append([name, *means, mean(means)])
    shots = [str(count) for count in next(iter(cells.values()))]
    return tabulate(rows, ["part", *shots, "mean"], "github", floatfmt=".2f")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, [1, 4, 16])
    parser.add_argument(
        "--only",
        nargs="+",
        default=list(CHANGES),
        choices=CHANGES,
        metavar="NAME",
        help="how the attention is trained",
    )
    args, started = parser.parse_args(), time.perf_counter()
    import_modules(["trainers", "datasets"], train.parse_args(args.data).plugin)
    cells: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for shots in args.shots:
        for seed in args.seeds:
            for name, value in accuracies(shots, seed, args.data, args.only).items():
                cells[name][shots].append(value)
        print(table(cells), "", sep="\n", flush=True)
    write_results(f"successor_{args.name}", started, {"parts": table(cells)})


if __name__ == "__main__":
    sys.exit(run_command(main))
