"""The parts of VTCLIPPlus, one changed at a time, on validation images of the digits.

    python -m benchmarks.successor --data data --shots 1 4 16

As in benchmarks.selection_rules, min(shots, 4) validation images per class choose beta, lam and the
weights, and accuracy is that on the other validation images. Test images are not read.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
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
from benchmarks.selection_rules import SEEDS, all_validation, split
from datasets.base import ImageDataset
from trainers import proker
from trainers.vtclip import WEIGHTS
from trainers.vtclip_plus import CORRECTION_WEIGHTS
from vtclip.methods.ss_text import class_weights
from vtclip.plugins import import_modules
from vtclip.results import Search
from vtclip.search import grid_search

PROXIMITY = 1.0
Change = Callable[[Any], None]


@dataclass(frozen=True)
class Parts:
    """The parts of the logits [N, K] of all validation images of a trained method.

    Attributes:
        zero_shot, guided, corrected: without weights; `corrected` is 0 for VT-CLIP.
        labels: [N].
        chooses: [N], bool, the images that choose.
    """

    zero_shot: Tensor
    guided: Tensor
    corrected: Tensor
    labels: Tensor
    chooses: Tensor

    def logits(self, w: float = 1.0, u: float = 1.0) -> Tensor:
        """Return the logits at the weights of the correction and of the guided texts, [N, K]."""
        return torch.lerp(self.zero_shot, self.guided, u) + w * self.corrected

    def accuracy(self, **chosen: float) -> float:
        """Return the accuracy on the images that choose nothing, in percent."""
        others = ~self.chooses
        right = self.logits(**chosen)[others].argmax(dim=1) == self.labels[others]
        return 100 * float(right.float().mean())

    def searched(self, **grid: Sequence[float]) -> float:
        """Return the accuracy at the weights that a search takes."""
        few = self.chooses
        found = grid_search(
            lambda **point: self.logits(**point)[few],
            *(self.labels[few], grid, self.zero_shot[few]),
        )
        return self.accuracy(**found.chosen)


def trained(
    method: str, shots: int, seed: int, data: Path, options: Sequence[str], change: Change
) -> Parts:
    """Train a method on few-shot lists, after a change, and score its parts."""
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(StringIO()),
        mock.patch.object(ImageDataset, "few_shots", all_validation),
    ):
        run = ("--trainer", method, "--shots", str(shots), "--output-dir", folder)
        arguments = (*run, "--backbone", "tiny", "--root", str(data), *options)
        cfg, _ = train.plan_of(train.parse_args([*arguments])).run(seed, several=False)
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
        zero_shot, guided = (
            trainer.scores("val", score)[0]
            for score in (trainer.zero_shot_logits, trainer.guided_logits)
        )
        corrected = torch.zeros_like(zero_shot)
        if trainer.fitted:
            corrected = trainer.scores("val", trainer.correction_logits)[0]
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


def accuracies(shots: int, seed: int, data: Path) -> dict[str, float]:
    """Return the accuracy of each row of the table."""
    fit = partial(trained, "VTCLIPPlus", shots, seed, data)
    leave_out = ("TRAINER.VTCLIPPLUS.LEAVE_ONE_OUT", "True")
    alone = fit((), nothing)
    found = {
        "zero-shot CLIP": alone.accuracy(w=0, u=0),
        "kernel alone (ProKeR)": alone.accuracy(u=0),
        "VT-CLIP alone": alone.accuracy(w=0),
    }
    for name, parts in {
        "trained alone": alone,
        "left out": fit(leave_out, nothing),
        "left out, class vectors of SS-Text as T": fit(leave_out, texts_of_ss_text),
        "left out, proximal term": fit(leave_out, partial(near_the_texts, shots=shots)),
    }.items():
        found[f"{name}, w = 1"] = parts.accuracy()
        found[f"{name}, w searched"] = parts.searched(w=CORRECTION_WEIGHTS)
        found[f"{name}, w and u searched"] = parts.searched(w=CORRECTION_WEIGHTS, u=WEIGHTS)
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
    parser.add_argument("--data", type=Path, default=Path("data"), help="data root of the digits")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    started = time.perf_counter()
    import_modules(["trainers", "datasets"])
    cells: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for shots in options.shots:
        for seed in SEEDS:
            for name, value in accuracies(shots, seed, options.data).items():
                cells[name][shots].append(value)
        print(table(cells), "", sep="\n", flush=True)
    write_results("successor_digits", started, {"parts": table(cells)})


if __name__ == "__main__":
    main()
