"""Measure the `tiny` weights; nothing here is used to train or to choose them.

python -m scripts.tiny.measure
python -m scripts.tiny.measure --caltech data/caltech-101
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from vtclip.backbones.clip_package import CLIP, build_model

from .glyphs import NUMBERS
from .pretrain import WEIGHTS, encode_texts, normalise
from .render import RESOLUTION


def load_weights(path: Path) -> CLIP:
    """Build the network from a checkpoint with the `clip` package's own `build_model`."""
    model = build_model(torch.load(path, map_location="cpu", weights_only=True)).float().eval()
    model.visual.to(memory_format=torch.channels_last)
    return model


def to_square(image: Image.Image) -> np.ndarray:
    """CLIP's preparation: shorter side to 96 (bicubic), centre crop, RGB; uint8 [3, 96, 96]."""
    scale = RESOLUTION / min(image.size)
    size = tuple(max(RESOLUTION, round(side * scale)) for side in image.size)
    image = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    left, top = (size[0] - RESOLUTION) // 2, (size[1] - RESOLUTION) // 2
    image = image.crop((left, top, left + RESOLUTION, top + RESOLUTION)).convert("RGB")
    return np.asarray(image).transpose(2, 0, 1)


def digits() -> tuple[Tensor, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits as pictures, and their labels."""
    data = load_digits()
    scans = np.round(data.images * (255 / 16)).astype(np.uint8)
    return torch.from_numpy(np.stack([to_square(Image.fromarray(s)) for s in scans])), data.target


@torch.no_grad()
def image_features(model: CLIP, images: Tensor) -> Tensor:
    """Normalised global features of uint8 pictures: [N, D]."""
    parts = [model.encode_image(normalise(batch)) for batch in torch.split(images, 256)]
    return F.normalize(torch.cat(parts), dim=1)


def few_shot_probe(
    features: np.ndarray, labels: np.ndarray, shots: int, seeds: int, cost: float
) -> float:
    """Logistic regression on `shots` examples a class, tested on all others; mean over seeds."""
    accuracies = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(labels))
        train = np.concatenate([order[labels[order] == k][:shots] for k in np.unique(labels)])
        test = np.setdiff1d(order, train)
        probe = LogisticRegression(C=cost, max_iter=2000).fit(features[train], labels[train])
        accuracies.append(probe.score(features[test], labels[test]))
    return float(np.mean(accuracies))


@torch.no_grad()
def measure_digits(model: CLIP) -> dict[str, float]:
    """Zero-shot and 16-shot accuracy on the handwritten digits, in per cent."""
    images, labels = digits()
    features = image_features(model, images)
    texts = encode_texts(model, [f"a photo of the number {name}." for name in NUMBERS])
    zero_shot = (features @ texts.T).argmax(1).numpy() == labels
    probe = few_shot_probe(features.numpy(), labels, shots=16, seeds=5, cost=100)
    return {"digits zero-shot": 100 * float(zero_shot.mean()), "digits 16-shot probe": 100 * probe}


@torch.no_grad()
def measure_texts(model: CLIP, names: list[str]) -> dict[str, float]:
    """Cosines between different class names under the single template."""
    features = encode_texts(model, [f"a photo of a {name.replace('_', ' ')}." for name in names])
    cosines = (features @ features.T)[~torch.eye(len(names), dtype=torch.bool)]
    return {"text cosine mean": float(cosines.mean()), "text cosine max": float(cosines.max())}


def measure_caltech(model: CLIP, root: Path) -> dict[str, float]:
    """16-shot linear probe on Caltech101's test split (zhou's), and the text cosines."""
    split = json.loads((root / "split_zhou_Caltech101.json").read_text())
    by_class: dict[int, list[str]] = defaultdict(list)
    names: dict[int, str] = {}
    for path, label, name in split["train"]:
        by_class[label].append(path)
        names[label] = name
    rng = np.random.default_rng(0)
    train = [
        (path, label)
        for label in sorted(by_class)
        for path in rng.permutation(sorted(by_class[label]))[:16].tolist()
    ]
    test = [(path, label) for path, label, _ in split["test"]]

    def features(items: list[tuple[str, int]]) -> np.ndarray:
        folder = root / "101_ObjectCategories"
        squares = [to_square(Image.open(folder / path).convert("RGB")) for path, _ in items]
        return image_features(model, torch.from_numpy(np.stack(squares))).numpy()

    probe = LogisticRegression(C=100, max_iter=2000)
    probe.fit(features(train), [label for _, label in train])
    accuracy = 100 * float(probe.score(features(test), [label for _, label in test]))
    texts = measure_texts(model, [names[label] for label in sorted(names)])
    return {"caltech101 16-shot probe": accuracy, **texts}


@torch.no_grad()
def measure_speed(model: CLIP) -> dict[str, float]:
    """Pictures a second of the image encoder, fp32, batches of 256."""
    images = torch.randn(256, 3, RESOLUTION, RESOLUTION)
    images = images.contiguous(memory_format=torch.channels_last)
    model.encode_image(images)
    start = time.perf_counter()
    for _ in range(5):
        model.encode_image(images)
    return {"pictures a second": 5 * 256 / (time.perf_counter() - start)}


def main() -> None:
    """Print every figure on a line of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--caltech", type=Path, help="folder with 101_ObjectCategories")
    args = parser.parse_args()
    model = load_weights(args.weights)
    figures = {**measure_digits(model), **measure_speed(model)}
    if args.caltech is not None:
        figures |= measure_caltech(model, args.caltech)
    for name, value in figures.items():
        print(f"{name:26s} {value:8.2f}")


if __name__ == "__main__":
    main()
