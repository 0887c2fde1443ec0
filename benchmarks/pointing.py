"""A pointing game: whether the attention of a class's text is on the object of that class.

    python -m benchmarks.pointing [--folder output/pointing] [--only NAME ...]

VT-CLIP is trained on generated scenes (benchmarks/scenes.py) with every setting below and three
seeds (those of 200 epochs with one), then the attention of the true class's text over each test
scene (mean over heads, last layer) is compared with the mask of the target. Nothing is chosen by
it. What the folder holds already, runs and their figures (pointing.json), is taken from there.
Without --only the pictures of docs/pointing.md and results/pointing.json are written.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import numpy as np
import torch
from PIL import Image
from tabulate import tabulate
from torch import Tensor
from torch.nn import functional as F

import train
from benchmarks.machine import write_results
from benchmarks.scenes import write_scenes
from vtclip.errors import UserError, run_command, unknown_name
from vtclip.files import atomic_path, user_path, write_json
from vtclip.plugins import import_modules
from vtclip.predictor import Predictor, load_predictor
from vtclip.report.attention import draw_scenes, scenes_of
from vtclip.report.picking import images_of_run
from vtclip.results import RESULT_FILE, read_result

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "datasets" / "image_folder.yaml"
IMAGES = ROOT / "docs" / "images"
SHOTS, SEEDS = 16, (1, 2, 3)
FIGURES_FILE = "pointing.json"
# crops that keep most of a scene; a mirrored digit is another one or none
COMMON = (
    *("DATASET.TEMPLATE", "a photo of the number {}.", "INPUT.RRCROP_SCALE", "(0.7, 1.0)"),
    *("INPUT.TRANSFORMS", "('random_resized_crop', 'normalize')", "FEATURES.VIEWS", "5"),
)
EPOCHS, LONG = ("OPTIM.MAX_EPOCH", "50"), ("OPTIM.MAX_EPOCH", "200")
DEFAULT = "defaults"
BACKBONE = ("VISUAL_TOKENS", "backbone")
# name of the row: keys with their values, those without a dot below TRAINER.VTCLIP
SETTINGS: dict[str, tuple[str, ...]] = {
    DEFAULT: (),
    "NORM pre": ("NORM", "pre"),
    "SELF_ATTENTION False": ("SELF_ATTENTION", "False"),
    "FFN False": ("FFN", "False"),
    "N_HEADS 1": ("N_HEADS", "1"),
    "ZERO_INIT False": ("ZERO_INIT", "False"),
    "RESIDUAL_RATIO 0.2": ("RESIDUAL_RATIO", "0.2"),
    "INCLUDE_GLOBAL True": ("INCLUDE_GLOBAL", "True"),
    "200 epochs": LONG,
    "VISUAL_TOKENS backbone": BACKBONE,
    "backbone, NORM pre": (*BACKBONE, "NORM", "pre"),
    "backbone, SELF_ATTENTION False": (*BACKBONE, "SELF_ATTENTION", "False"),
    "backbone, FFN False": (*BACKBONE, "FFN", "False"),
    "backbone, N_HEADS 1": (*BACKBONE, "N_HEADS", "1"),
    "backbone, ZERO_INIT False": (*BACKBONE, "ZERO_INIT", "False"),
    "backbone, NORM pre, 200 epochs": (*BACKBONE, "NORM", "pre", *LONG),
}
# a setting of each kind of spatial features; in the joint space texts can be compared with them
KINDS = (DEFAULT, "VISUAL_TOKENS backbone")
RIDGE = 1e-2
# of the first seed, by the end of the picture's name
PICTURED = {"defaults": DEFAULT, "backbone": "backbone, NORM pre"}

Figures = dict[str, float]


# ---- maps against masks


def coverage(masks: Tensor, side: int) -> Tensor:
    """Return how much of each location a target covers, 0 to 1, [N, side * side].

    Args:
        masks: [N, H, W], 1 on the target and 0 beside it; `side` divides H and W.
        side: of the grid of locations.

    >>> coverage(torch.tensor([[[1.0, 1.0], [1.0, 0.0]]]), 1)
    tensor([[0.7500]])
    """
    _, height, width = masks.shape
    return F.avg_pool2d(masks[:, None], (height // side, width // side)).flatten(1)


def energy(weights: Tensor, covered: Tensor) -> Tensor:
    """Return the share of the weight that is on the target, [N].

    The weight of a location is spread evenly over it; the weights of an image count as shares of
    their sum. Even weights give the share of the area.

    Args:
        weights: [N, S], at least 0.
        covered: [N, S], see :func:`coverage`.

    >>> energy(torch.tensor([[3.0, 1.0]]), torch.tensor([[0.5, 1.0]]))
    tensor([0.6250])
    """
    return (weights * covered).sum(1) / weights.sum(1)


def energy_elsewhere(weights: Tensor, covered: Tensor) -> float:
    """Return the mean energy of each map on the target of every scene, its own among them.

    A map that prefers a place, whatever is in the image, has as much there as on its own target.

    Args:
        weights, covered: see :func:`energy`.
    """
    shares = weights / weights.sum(1, keepdim=True)
    return float(shares.mean(0) @ covered.mean(0))


def hits(weights: Tensor, covered: Tensor) -> Tensor:
    """Return whether the location of the largest weight is one that the target covers most, [N].

    Args:
        weights, covered: [N, S].
    """
    pointed = covered.gather(1, weights.argmax(1, keepdim=True)).squeeze(1)
    return pointed == covered.amax(1)


def chance_of_hit(covered: Tensor) -> float:
    """Return the mean share of locations that :func:`hits` counts, of covered [N, S]."""
    return float((covered == covered.amax(1, keepdim=True)).float().mean())


def judge(weights: Tensor, labels: Tensor, covered: Tensor) -> Figures:
    """Return what the maps of all texts are worth, in per cent.

    Args:
        weights: [N, K, S], of each image and text.
        labels: true classes [N], int64.
        covered: [N, S].
    """
    own = weights[torch.arange(len(labels)), labels]
    others = (weights.sum(1) - own) / (weights.shape[1] - 1)
    return {
        "energy": 100 * float(energy(own, covered).mean()),
        "elsewhere": 100 * energy_elsewhere(own, covered),
        "other texts": 100 * float(energy(others, covered).mean()),
        "hit": 100 * float(hits(own, covered).float().mean()),
    }


def fit_locator(spatial_features: Tensor, covered: Tensor) -> Tensor:
    """Return a ridge regression of what is covered on normalised spatial features, [C + 1].

    Args:
        spatial_features: F [N, S, C].
        covered: [N, S].
    """
    x = _with_one(spatial_features).flatten(0, 1)
    gram = x.T @ x + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.linalg.solve(gram, x.T @ covered.flatten().to(x.dtype))


def located(spatial_features: Tensor, locator: Tensor) -> Tensor:
    """Return the coverage [N, S] that :func:`fit_locator` foretells."""
    return _with_one(spatial_features) @ locator


def _with_one(spatial_features: Tensor) -> Tensor:
    x = F.normalize(spatial_features.double(), dim=-1)
    return torch.cat([x, x.new_ones(*x.shape[:-1], 1)], dim=-1)


# ---- runs


class Scenes:
    """The scenes of a part, and their features by kind, worked out once.

    Args:
        folder: with `images` and `masks`.
        part: "train" or "test".
    """

    def __init__(self, folder: Path, part: str) -> None:
        paths = sorted((folder / "images" / part).glob("*/*.png"))
        self.images = paths
        self.names = [path.parent.name for path in paths]
        masks = [folder / "masks" / part / p.parent.name / p.name for p in paths]
        pixels = [np.asarray(Image.open(mask), dtype=np.float32) for mask in masks]
        self.masks = torch.from_numpy(np.stack(pixels))
        self._features: dict[str, Any] = {}

    def features(self, predictor: Predictor) -> Any:
        """Return the features of all images as a run uses them."""
        kind = str(predictor.trainer.tokens())
        if kind not in self._features:
            self._features[kind] = predictor.features(self.images)
        return self._features[kind]

    def labels(self, predictor: Predictor) -> Tensor:
        """Return the labels [N] of a run."""
        return torch.tensor([predictor.classnames.index(name) for name in self.names])

    def covered(self, locations: int) -> Tensor:
        """Return the coverage [N, S] of a square grid."""
        return coverage(self.masks, round(locations**0.5))


def arguments_of(options: Sequence[str], seed: int, scenes: Path, folder: Path) -> list[str]:
    """Return the arguments of train.py for a run."""
    pairs = zip(options[::2], options[1::2], strict=True)
    named = [
        text
        for key, value in pairs
        for text in (key if "." in key else f"TRAINER.VTCLIP.{key}", value)
    ]
    return [
        *("--trainer", "VTCLIP", "--shots", str(SHOTS), "--seed", str(seed)),
        *("--root", str(scenes / "images"), "--dataset-config-file", str(CONFIG)),
        *("--backbone", "tiny", "--output-dir", str(folder), *COMMON, *EPOCHS, *named),
    ]


def seeds_of(name: str) -> tuple[int, ...]:
    """Return the seeds of a setting: one where training is long.

    >>> seeds_of("200 epochs"), seeds_of("NORM pre")
    ((1,), (1, 2, 3))
    """
    return SEEDS[:1] if SETTINGS[name][-2:] == LONG else SEEDS


def measured(arguments: Sequence[str], folder: Path, test: Scenes) -> dict[str, Any]:
    """Return the figures of a run before and after training, and keep them in its folder.

    Args:
        arguments: of train.py.
        folder: of the run.
        test: the scenes.
    """
    kept = folder / FIGURES_FILE
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    if found.get("arguments") != [*arguments]:
        args = train.parse_args([*arguments])
        # log.txt has all of it
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            before = untrained(args)
            train.run(args)
            predictor = load_predictor(folder)
        figures = {
            "seed": args.seed,
            "before": judged(before, predictor, test),
            "after": judged(predictor.trainer, predictor, test),
            "accuracy": read_result(folder / RESULT_FILE).accuracy,
        }
        found = {"arguments": [*arguments], "figures": figures}
        write_json(kept, found)
    return dict(found["figures"])


def untrained(args: argparse.Namespace) -> Any:
    """Return the trainer of a run before training."""
    from dassl.engine import build_trainer
    from dassl.utils import set_random_seed

    cfg, _ = train.plan_of(args).run(args.seed, several=False)
    set_random_seed(cfg.SEED)
    return build_trainer(cfg)


@torch.no_grad()
def judged(trainer: Any, predictor: Predictor, test: Scenes) -> Figures:
    """Return what the attention of a trainer is worth on the test scenes."""
    weights = trainer.attention(test.features(predictor)).float().mean(1)
    return judge(weights, test.labels(predictor), test.covered(weights.shape[-1]))


@torch.no_grad()
def references(predictors: Sequence[Predictor], train: Scenes, test: Scenes) -> dict[str, Figures]:
    """Return the figures of chance, of zero-shot similarity and of the linear maps.

    Args:
        predictors: a run per kind of spatial features, the joint space first.
        train, test: the scenes.
    """
    joint = predictors[0]
    spatial = F.normalize(test.features(joint).spatial_features, dim=-1)
    covered, trainer = test.covered(spatial.shape[1]), joint.trainer
    similarity = torch.einsum("nsd,kd->nks", spatial, trainer.text_features)
    found = {
        "even weights": {
            "energy": 100 * float(covered.mean()),
            "hit": 100 * chance_of_hit(covered),
        },
        "zero-shot similarity": judge(
            (trainer.scale * similarity).softmax(-1), test.labels(joint), covered
        ),
        "all weight on the best location": {
            "energy": 100 * float(covered.amax(1).mean()),
            "hit": 100.0,
        },
    }
    for predictor in predictors:
        kind = predictor.trainer.tokens()
        seen = train.features(predictor).spatial_features
        locator = fit_locator(seen, train.covered(seen.shape[1]))
        pointed = hits(located(test.features(predictor).spatial_features, locator), covered)
        found[f"linear map fitted on masks, {kind}"] = {"hit": 100 * float(pointed.float().mean())}
    return found


def table(results: Mapping[str, Any]) -> str:
    """Return the figures as a table in GitHub's markdown.

    Args:
        results: "references", figures by name; "settings", by name a list of runs with "before",
            "after" and "accuracy".
    """

    def over(runs: Sequence[Mapping[str, Any]], part: str, name: str) -> str:
        return spread([run[part][name] for run in runs])

    shares_of = ("energy", "elsewhere", "other texts")
    rows = []
    for name, figures in results["references"].items():
        shares = [_number(figures.get(key)) for key in shares_of]
        rows.append([name, "", *shares, "", _number(figures.get("hit")), ""])
    for name, runs in results["settings"].items():
        shares = [over(runs, "after", key) for key in shares_of]
        pointed = over(runs, "before", "hit"), over(runs, "after", "hit")
        accuracy = spread([run["accuracy"] for run in runs])
        if len(runs) == 1:
            name += f" (seed {runs[0]['seed']})"
        rows.append([name, over(runs, "before", "energy"), *shares, *pointed, accuracy])
    heads = ["map", "on target, before", "on target", "on all targets", "other texts"]
    heads += ["hit, before", "hit", "accuracy"]
    return tabulate(rows, heads, "github", disable_numparse=True)


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation; of one value there is none.

    >>> spread([1.0, 3.0]), spread([2.0])
    ('2.0 ± 1.0', '2.0')
    """
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{mean(values):.1f} ± {pstdev(values):.1f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


# ---- pictures


def draw(run: Path, path: Path) -> None:
    """Draw four scenes of a run as report.py does, small enough for a repository.

    Args:
        run: its folder.
        path: of the PNG file.
    """
    predictor = load_predictor(run)
    images, labels = images_of_run(run, "", "fixed", 4, 1)
    figure = draw_scenes(scenes_of(predictor, images, labels), "attention, mean over heads")
    content = BytesIO()
    figure.savefig(content, format="png", dpi=150)
    with atomic_path(path) as temporary:
        picture = Image.open(content).convert("RGB").quantize(256)
        picture.save(temporary, format="PNG", optimize=True)


# ---- command line


def place_of(folder: Path, name: str, seed: int) -> Path:
    """Return the folder of a run.

    >>> place_of(Path("x"), "backbone, NORM pre", 1).as_posix()
    'x/backbone-NORM_pre/seed1'
    """
    return folder / name.replace(", ", "-").replace(" ", "_") / f"seed{seed}"


def play(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Train and measure the named settings.

    Raises:
        UserError: the folder cannot be used, or holds runs of another kind.
    """
    scenes = folder / "scenes"
    try:
        write_scenes(scenes)
    except OSError as error:
        raise UserError(f"{scenes}: cannot be written ({error.strerror or error}).") from error
    train_scenes, test = Scenes(scenes, "train"), Scenes(scenes, "test")
    settings: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        runs = settings.setdefault(name, [])
        for seed in seeds_of(name):
            place = place_of(folder, name, seed)
            arguments = arguments_of(SETTINGS[name], seed, scenes, place)
            runs.append(measured(arguments, place, test))
        print(
            f"{name}: {spread([run['after']['energy'] for run in runs])}",
            file=sys.stderr,
            flush=True,
        )
    found = {}
    if {*KINDS} <= {*names}:
        places = (place_of(folder, name, SEEDS[0]) for name in KINDS)
        found = references([load_predictor(place) for place in places], train_scenes, test)
    return {"references": found, "settings": settings}


def run(options: argparse.Namespace) -> None:
    """Do what the arguments ask for.

    Raises:
        UserError: bad input.
    """
    for name in options.only:
        if name not in SETTINGS:
            raise unknown_name("--only", name, SETTINGS)
    started = time.perf_counter()
    import_modules(["trainers", "datasets"])
    folder = user_path(options.folder, "--folder")
    results = play(folder, options.only or [*SETTINGS])
    print(table(results))
    if not options.only:
        write_results("pointing", started, results)
        with redirect_stderr(StringIO()):
            for name, setting in PICTURED.items():
                draw(place_of(folder, setting, SEEDS[0]), IMAGES / f"pointing_{name}.png")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", default="output/pointing", help="of the scenes and runs")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="some settings")
    options = parser.parse_args()
    sys.exit(run_command(lambda: run(options)))


if __name__ == "__main__":
    main()
