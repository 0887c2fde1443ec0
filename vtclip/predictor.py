"""A finished run at work: classes of new images, and where its texts look."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import torch
from dassl.config import get_cfg_default
from PIL import Image
from torch import Tensor
from yacs.config import CfgNode

from vtclip.backbones import Backbone, build_backbone
from vtclip.config import check_cfg, extend_cfg, merge_values
from vtclip.engine import FrozenCLIPTrainer
from vtclip.errors import UserError
from vtclip.evaluation import check_finite
from vtclip.feature_provider import AbsentBackbone, ImageProvider
from vtclip.features import Encoding, Features, encode_batch, resolve_precision
from vtclip.features.images import ImageFiles, readable_batches
from vtclip.features.pixels import decode_image, to_rgb
from vtclip.files import require_file
from vtclip.method import registered_methods
from vtclip.methods.zero_shot import cosine_logits
from vtclip.plugins import import_modules
from vtclip.predictions import class_keys
from vtclip.preprocessing import describe_transform, transform_of
from vtclip.saved_model import MODEL_FILE, SavedModel, find_model, read_model

Picture = str | Path | Image.Image
BATCH_SIZE = 64


class Guess(NamedTuple):
    """A class and its probability, 0 to 1."""

    classname: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a run says of one image.

    Attributes:
        top: the most probable classes, the best one first.
        zero_shot: the class that zero-shot CLIP takes, by the same text features.
    """

    top: tuple[Guess, ...]
    zero_shot: Guess

    @property
    def classname(self) -> str:
        """The most probable class."""
        return self.top[0].classname

    @property
    def probability(self) -> float:
        """Its probability, 0 to 1."""
        return self.top[0].probability


class Predictor:
    """A finished run with its backbone, ready for images; see :func:`load_predictor`.

    Attributes:
        folder: of the run.
        trainer: the method as it was tested.
        model: what the folder holds.
        classnames: of the K classes, in the order of labels; of classes with equal names each has
            its number added (see :func:`vtclip.predictions.class_keys`).
    """

    def __init__(
        self, folder: Path, trainer: FrozenCLIPTrainer, model: SavedModel, encoding: Encoding
    ) -> None:
        self.folder = folder
        self.trainer = trainer
        self.model = model
        self.classnames = class_keys(model.classnames)
        self._encoding = encoding

    @property
    def backbone(self) -> Backbone:
        """The backbone, with the weights of the run."""
        return self._encoding.backbone

    @property
    def has_attention(self) -> bool:
        """Whether the texts of the method look at the image."""
        return type(self.trainer).attention is not FrozenCLIPTrainer.attention

    def predict(self, images: Sequence[Picture], top: int = 5) -> list[Prediction]:
        """Return the classes of images, in their order.

        Args:
            images: files, or images of PIL in any mode and size.
            top: how many classes each, at least 1.

        Raises:
            UserError: an image cannot be read.
        """
        batches = (images[at : at + BATCH_SIZE] for at in range(0, len(images), BATCH_SIZE))
        return [
            prediction
            for batch in batches
            for prediction in self._classify(torch.stack([*map(self._tensor, batch)]), top)
        ]

    def stream(
        self, paths: Sequence[Path], top: int = 5, *, batch_size: int = BATCH_SIZE, workers: int = 0
    ) -> Iterator[Prediction | UserError]:
        """Yield the classes of image files, or why a file cannot be read, in their order.

        Args:
            paths: the files.
            top: how many classes each, at least 1.
            batch_size: images encoded at once.
            workers: processes that read ahead; 0 reads in this one.
        """
        files = ImageFiles(paths, self._encoding)
        for batch in readable_batches(files, batch_size, workers=workers):
            images = [item for item in batch if isinstance(item, Tensor)]
            found = iter(self._classify(torch.stack(images), top) if images else [])
            for item in batch:
                yield next(found) if isinstance(item, Tensor) else item

    def attention(self, images: Sequence[Picture], layer: int = -1) -> Tensor:
        """Return where the texts look, as weights over the grid of locations.

        Args:
            images: files, or images of PIL, as many as fit in memory at once.
            layer: which cross-attention; -1 is the last one.

        Returns:
            [B, H, K, h, w] for B images, H heads and K classes, over the part of each image that
            :meth:`seen` returns. They sum to 1 over the grid, unless the run has a key beside it.

        Raises:
            UserError: the method has no such attention, the locations are no square grid, or an
                image cannot be read.
        """
        return self.attention_of(self.features(images), layer)

    @torch.no_grad()
    def attention_of(self, features: Features, layer: int = -1) -> Tensor:
        """Return the same as :meth:`attention` for features of images."""
        weights = self.trainer.attention(features, layer).float().cpu()
        side = round(weights.shape[-1] ** 0.5)
        if side**2 != weights.shape[-1]:
            raise UserError(
                f"{self.folder}: backbone {self.model.backbone} has {weights.shape[-1]} locations, "
                "which are no square grid to draw on."
            )
        return weights.unflatten(-1, (side, side))

    def features(self, images: Sequence[Picture]) -> Features:
        """Return the features of images, on the device of the run.

        Raises:
            UserError: an image cannot be read.
        """
        return encode_batch(torch.stack([*map(self._tensor, images)]), self._encoding)

    def seen(self, image: Picture) -> Image.Image:
        """Return the part of an image that the backbone sees, in the image's own resolution.

        That is the square in the middle (Dassl's test transform).

        Raises:
            UserError: the image cannot be read.
        """
        rgb = _open(image)
        side = min(rgb.size)
        left, upper = (rgb.width - side) // 2, (rgb.height - side) // 2
        return rgb.crop((left, upper, left + side, upper + side))

    def _tensor(self, image: Picture) -> Tensor:
        return self._encoding.transform(_open(image))

    @torch.no_grad()
    def probabilities(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return the probabilities [B, K] of the run and of zero-shot CLIP.

        Raises:
            UserError: scores are not finite.
        """
        trainer = self.trainer
        logits = trainer.logits(features)
        check_finite(trainer, logits)
        zero_shot = cosine_logits(features.global_features, trainer.text_features, trainer.scale)
        return logits.softmax(-1), zero_shot.softmax(-1)

    def guesses(self, probabilities: Tensor, top: int) -> tuple[Guess, ...]:
        """Return the most probable classes of an image, the best one first.

        Args:
            probabilities: [K].
            top: how many, at least 1.
        """
        best = probabilities.topk(min(top, len(self.classnames)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return tuple(Guess(self.classnames[label], value) for label, value in pairs)

    def _classify(self, images: Tensor, top: int) -> list[Prediction]:
        found, zero_shot = self.probabilities(encode_batch(images, self._encoding))
        return [
            Prediction(self.guesses(row, top), self.guesses(other, 1)[0])
            for row, other in zip(found, zero_shot, strict=True)
        ]


def load_predictor(
    run: str | Path, *, backbone: str = "", device: str = "", plugins: Sequence[str] = ()
) -> Predictor:
    """Load a finished run.

    What is printed on the way goes to standard error.

    Args:
        run: its folder, wherever it was moved to.
        backbone: name or file of the backbone, where the one of the run is elsewhere now.
        device: "cpu" or "cuda"; empty: CUDA where there is one.
        plugins: modules that register the method or the backbone of the run.

    Raises:
        UserError: the folder holds no finished run, or the backbone is missing or another one.
    """
    with contextlib.redirect_stdout(sys.stderr):
        import_modules(["trainers"], plugins)
        folder = find_model(Path(run).expanduser())
        model = read_model(folder)
        return _assemble(folder, model, backbone, torch.device(device or _best_device()))


class Restored(NamedTuple):
    """A finished run on the CPU.

    Attributes:
        folder: of the run.
        model: what the folder holds.
        trainer: the method as it was tested.
        backbone: None for a run on a file of features.
    """

    folder: Path
    model: SavedModel
    trainer: FrozenCLIPTrainer
    backbone: Backbone | None


def restore_trainer(
    run: str | Path, *, backbone: str = "", plugins: Sequence[str] = ()
) -> Restored:
    """Load a finished run, also one on a file of features, whose method takes features alone.

    Args:
        run, backbone, plugins: as of :func:`load_predictor`.

    Raises:
        UserError: as of :func:`load_predictor`; or a backbone is named for a file of features.
    """
    with contextlib.redirect_stdout(sys.stderr):
        import_modules(["trainers"], plugins)
        folder = find_model(Path(run).expanduser())
        model, cpu = read_model(folder), torch.device("cpu")
        if model.from_images:
            predictor = _assemble(folder, model, backbone, cpu)
            return Restored(folder, model, predictor.trainer, predictor.backbone)
        path = folder / MODEL_FILE
        if backbone:
            raise UserError(
                f"{path}: of a run on a file of features, which no backbone belongs to; leave "
                "--backbone out."
            )
        method, cfg = _method_and_cfg(model, path, {})
        absent = AbsentBackbone(
            backbone_name=model.backbone,
            fingerprint=model.backbone_fingerprint,
            scale=model.scale,
            embed_dim=model.embed_dim,
            backbone_dim=model.backbone_dim,
        )
        return Restored(folder, model, method.restored(model, cfg, absent, cpu), None)


def _assemble(folder: Path, model: SavedModel, backbone: str, device: torch.device) -> Predictor:
    path = folder / MODEL_FILE
    if not model.from_images:
        raise UserError(
            f"{path}: of a run on a file of features, which has no backbone to read images with."
        )
    chosen = {"MODEL.BACKBONE.NAME": backbone} if backbone else {}
    method, cfg = _method_and_cfg(model, path, chosen)
    encoder = build_backbone(cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.ACTIVATION).to(device)
    if encoder.fingerprint != model.backbone_fingerprint:
        raise UserError(
            f"MODEL.BACKBONE.NAME: {cfg.MODEL.BACKBONE.NAME} has other weights than {path} was "
            "trained on; --backbone names a backbone or the file of its weights."
        )
    # Dassl prints the steps, which a run has in its log
    with contextlib.redirect_stdout(None):
        transform = transform_of(cfg, is_train=False)
    described = describe_transform(cfg, is_train=False)
    # fp16 of a GPU is no arithmetic of a CPU
    foreign = cfg.FEATURES.PRECISION == "fp16" and device.type == "cpu"
    precision = resolve_precision("fp32" if foreign else cfg.FEATURES.PRECISION, device)
    # the kind of spatial features is an option of the method, so it is asked for it
    encoding = Encoding(encoder, transform, described, tokens=None, precision=precision)
    provider = ImageProvider(encoding, (transform, described), {}, None, "content", BATCH_SIZE, 0)
    trainer = method.restored(model, cfg, provider, device)
    encoding = Encoding(encoder, transform, described, tokens=trainer.tokens(), precision=precision)
    return Predictor(folder, trainer, model, encoding)


def _method_and_cfg(
    model: SavedModel, path: Path, chosen: dict[str, str]
) -> tuple[type[FrozenCLIPTrainer], CfgNode]:
    """Return the class of the method, and the configuration of the run with `chosen` values."""
    method = registered_methods().get(model.trainer)
    if method is None:
        raise UserError(
            f"{path}: of method {model.trainer}, which is not known here; --plugin names the "
            "module that registers it."
        )
    cfg = get_cfg_default()
    extend_cfg(cfg)
    merge_values(cfg, {**model.config, **chosen, "TRAINER.NAME": model.trainer}, f"{path}: ")
    check_cfg(cfg)
    cfg.freeze()
    return cast("type[FrozenCLIPTrainer]", method), cfg


def _open(image: Picture) -> Image.Image:
    if isinstance(image, Image.Image):
        return to_rgb(image, Path("image"))
    path = Path(image)
    try:
        require_file(path)
        return decode_image(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
