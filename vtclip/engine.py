"""The base trainer of every method on a frozen CLIP; the only module that knows Dassl.

A method is a page: `build_head` makes the trained module, `logits` maps features to scores, and
`search`, where it has one, chooses hyper-parameters on validation. The rest is here: text features,
image features, optimiser and schedule, safe checkpoints, result.json. It runs on Dassl.pytorch and
on the stand-in in toolkit/, and relies on nothing of Dassl's that current PyTorch has broken
(warm-up schedulers, reading of checkpoints).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import dassl
import torch
from dassl.data import transforms
from dassl.engine import TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_optimizer
from dassl.utils import set_random_seed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm
from yacs.config import CfgNode

from vtclip import __version__, checkpoints
from vtclip.backbones import VisualTokens, build_backbone
from vtclip.config import check_cfg
from vtclip.errors import UserError
from vtclip.feature_provider import BankProvider, FeatureProvider, ImageProvider, Transform
from vtclip.features import (
    Encoding,
    FeatureLoader,
    Features,
    FeatureSource,
    FeatureStore,
    resolve_precision,
)
from vtclip.fewshot import digest_of
from vtclip.files import write_json, write_text
from vtclip.prompts import TEMPLATES, check_template, templates_for
from vtclip.provenance import config_digest, peak_memory_mib, run_settings, versions
from vtclip.results import (
    RESULT_FILE,
    SELECTED_LAST,
    SELECTED_NOTHING,
    SELECTED_VAL,
    Result,
    Search,
    read_result,
    write_result,
)
from vtclip.schedule import learning_rate

# a broken run loses about this much training at most
SECONDS_BETWEEN_SAVES = 30.0
StrPath = str | os.PathLike[str]
SPLITS = {"train": "train_x", "val": "val", "test": "test"}


class FrozenCLIPTrainer(TrainerX):
    """Trains a small head, or nothing, on what a frozen CLIP says.

    Attributes:
        uses_shots: whether the method looks at training images at all.
        schedule_by_step: advance the learning rate every step instead of every epoch.
        other_classes: why a checkpoint says nothing about classes it was not trained on; "" if it
            does.
        provider: the features of this run.
        text_features: T [K, D] of the prompts, normalised, on `device`.
        scale: CLIP's exponentiated logit scale.
        head: the trained module, None for training-free methods.
        chosen: values of the hyper-parameters that `search` chooses, by name.
    """

    uses_shots = True
    schedule_by_step = False
    other_classes = ""

    # ---- what a method fills in

    def tokens(self) -> VisualTokens | None:
        """Return the kind of spatial features that `logits` needs, None for none."""
        return None

    def prompt_kind(self) -> str:
        """Return "single" (the dataset's template), "ensemble" or "auto"."""
        return "single"

    def build_head(self) -> nn.Module | None:
        """Return the module to train, None for a training-free method."""
        return None

    def logits(self, features: Features) -> Tensor:
        """Return the logits [B, K] of a batch of features on `device`."""
        raise NotImplementedError

    def loss(self, features: Features, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch, and its logits [B, K]: cross-entropy."""
        logits = self.logits(features)
        return F.cross_entropy(logits, label), logits

    def search(self) -> Search | None:
        """Choose hyper-parameters on validation, after training; None where there are none."""
        return None

    def build_optimizer(self, head: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser of the head, by the OPTIM node."""
        optimizer: torch.optim.Optimizer = build_optimizer(head, self.cfg.OPTIM)
        return optimizer

    # ---- what a method may use

    def features(self, split: str) -> tuple[Features, Tensor]:
        """Return all features of "train" or "val" under the test transform, and labels [N].

        Raises:
            UserError: the dataset has no such images.
        """
        self._require(split)
        with self._clock("features"):
            source = self.provider.split(split)
            return self._whole(source), self._labels(split).to(self.device)

    @torch.no_grad()
    def scores(self, split: str, score: Callable[[Features], Tensor]) -> tuple[Tensor, Tensor]:
        """Return `score` of all batches of "train" or "val", [N, ...], and labels [N].

        Raises:
            UserError: the dataset has no such images.
        """
        self._require(split)
        source, size = self.provider.split(split), self.cfg.DATALOADER.TEST.BATCH_SIZE
        labels = self._labels(split)
        batches = FeatureLoader([source], labels, size)
        parts = [score(batch["features"].to(self.device)) for batch in batches]
        return torch.cat(parts), labels.to(self.device)

    def train_views(self, count: int) -> list[Features]:
        """Return `count` augmented views of the training images, each in their order.

        Raises:
            UserError: the dataset has no training images.
        """
        self._require("train")
        with self._clock("features"):
            return [self._whole(view) for view in self.provider.train_views(count)]

    # ---- building

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse values that cannot work, before anything is read.

        Raises:
            UserError: names the key.
        """
        self._started = time.perf_counter()
        self._seconds = {"features": 0.0, "train": 0.0, "search": 0.0, "test": 0.0}
        check_cfg(cfg)

    def build_data_loader(self) -> None:
        """Build Dassl's data manager; take note of classes and of the few-shot lists."""
        super().build_data_loader()
        dataset = self.dm.dataset
        self.classnames = [str(name) for name in dataset.classnames]
        own_template = getattr(dataset, "template", None) or TEMPLATES.get(
            self.cfg.DATASET.NAME, TEMPLATES["ImageNet"]
        )
        template = check_template(self.cfg.DATASET.TEMPLATE or own_template)
        self.templates = templates_for(self.prompt_kind(), self.cfg.DATASET.NAME, template)
        print(f"Prompts: {' | '.join(self.templates)}")
        print(f"Class names: {', '.join(self.classnames)}")

    def build_model(self) -> None:
        """Build the feature provider and the head with its optimiser."""
        self.provider = self._build_provider()
        self.scale = self.provider.scale
        with self._clock("features"):
            texts = self.provider.text_features(self.templates, self.classnames)
        self.text_features = texts.to(self.device)
        self.search_result: Search | None = None
        self.chosen: dict[str, float] = {}
        self._evaluated = ""
        self._trains = False
        # the head starts alike whatever was drawn, cached or downloaded before
        self._seed(0)
        self.head = self.build_head()
        self.trainable_parameters = 0
        if self.head is None:
            self.max_epoch = 0
            return
        self.head.to(self.device)
        trained = [p for p in self.head.parameters() if p.requires_grad]
        self.trainable_parameters = sum(p.numel() for p in trained)
        print(f"# trainable parameters: {self.trainable_parameters:,}")
        self._optimizer = _fused(self.build_optimizer(self.head))
        self._scheduler = self._schedule(self._optimizer)
        self.register_model("head", self.head, self._optimizer, self._scheduler)

    def _build_provider(self) -> FeatureProvider:
        bank = getattr(self.dm.dataset, "feature_bank", None)
        if bank is not None:
            return self._bank_provider(bank)
        cfg = self.cfg
        print(f"Loading backbone {cfg.MODEL.BACKBONE.NAME}")
        backbone = build_backbone(cfg.MODEL.BACKBONE.NAME).to(self.device)
        if max(cfg.INPUT.SIZE) != backbone.image_size:
            raise UserError(
                f"INPUT.SIZE: {tuple(cfg.INPUT.SIZE)}, but backbone {backbone.name} takes images "
                f"of {backbone.image_size} pixels; set INPUT.SIZE "
                f"'({backbone.image_size}, {backbone.image_size})'."
            )
        settings = cfg.FEATURES
        encoding = Encoding(
            backbone,
            _transform(cfg, is_train=False),
            transform_key=_describe_transform(cfg, is_train=False),
            tokens=self.tokens(),
            precision=resolve_precision(settings.PRECISION, self.device),
            compile=settings.COMPILE,
        )
        return ImageProvider(
            encoding,
            (_transform(cfg, is_train=True), _describe_transform(cfg, is_train=True)),
            {split: [Path(item.impath) for item in self._items(split)] for split in SPLITS},
            _store(settings),
            settings.KEY,
            settings.BATCH_SIZE,
            cfg.DATALOADER.NUM_WORKERS,
        )

    def _bank_provider(self, bank: Any) -> FeatureProvider:
        if self.tokens() and bank.test.spatial_features is None:
            raise UserError(
                f"DATASET.FEATURE_BANK: has no spatial features, which {self.cfg.TRAINER.NAME} "
                "needs; use images, or a bank that has them."
            )
        return BankProvider(bank)

    def _schedule(self, optimizer: torch.optim.Optimizer) -> LambdaLR:
        optim_cfg = self.cfg.OPTIM
        steps_an_epoch = len(self._loader("train")) if self.schedule_by_step else 1

        def factor(step: int) -> float:
            return learning_rate(step / steps_an_epoch, optim_cfg) / float(optim_cfg.LR)

        return LambdaLR(optimizer, factor)

    # ---- training

    def before_train(self) -> None:
        """Resume where there is something to resume, then build the training loader."""
        self._trains = True
        if self.head is not None:
            self._require("train")
        if self.cfg.TEST.FINAL_MODEL == "best_val":
            self._require("val")
        super().before_train()
        self._write_run_files()
        if self.head is not None:
            self.train_loader_x = self._loader("train")
        self._last_save = self._train_started = time.perf_counter()

    def before_epoch(self) -> None:
        """Seed the epoch by its number, so that a resumed run draws what an unbroken one draws."""
        self._seed(self.epoch + 1)

    def parse_batch_train(self, batch: dict[str, Any]) -> Any:
        """Return features and labels [B] on `device`."""
        return batch["features"].to(self.device), batch["label"].to(self.device, non_blocking=True)

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        """Take one step on the cross-entropy of a batch.

        Returns:
            "loss", and "acc" in percent.

        Raises:
            UserError: the loss is not finite.
        """
        features, label = self.parse_batch_train(batch)
        # before the loss, which may gather the new gradients beside the old ones
        self.model_zero_grad()
        loss, logits = self.loss(features, label)
        if not torch.isfinite(loss):
            raise UserError(
                f"OPTIM.LR: the loss is {loss.item()} at epoch {self.epoch + 1}, batch "
                f"{self.batch_idx + 1}; try a rate below {self.cfg.OPTIM.LR}."
            )
        self.model_backward(loss)
        self.model_update()
        if self.schedule_by_step or self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        accuracy = compute_accuracy(logits.detach(), label)[0].item()
        return {"loss": loss.item(), "acc": accuracy}

    def after_epoch(self) -> None:
        """Save what is needed to go on after a break, besides what Dassl saves."""
        super().after_epoch()
        if (
            self.epoch + 1 < self.max_epoch
            and time.perf_counter() - self._last_save > SECONDS_BETWEEN_SAVES
        ):
            self._save_unfinished()

    def after_train(self) -> None:
        """Test the final model; a finished run has nothing left to resume."""
        self._seconds["train"] = time.perf_counter() - self._train_started
        super().after_train()
        for name in self._models:
            (Path(self.output_dir) / name / checkpoints.UNFINISHED).unlink(missing_ok=True)

    # ---- checkpoints

    def save_model(
        self,
        epoch: int,
        directory: StrPath,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Write the trained module, under `model_name` or the epoch's name."""
        for name, model in self._models.items():
            content = {
                "state_dict": model.state_dict(),
                "epoch": epoch + 1,
                "optimizer": None,
                "scheduler": None,
                "val_result": None if val_result is None else float(val_result),
                "origin": self._origin(),
            }
            folder = Path(directory) / name
            if model_name or is_best:
                checkpoints.save(content, folder / (model_name or checkpoints.BEST))
            else:
                checkpoints.save_latest(content, folder, epoch + 1)
                if epoch + 1 < self.max_epoch:
                    self._save_unfinished()

    def load_model(self, directory: StrPath, epoch: int | None = None) -> None:
        """Load the trained module: of `epoch`, else the best on validation, else the latest.

        Raises:
            UserError: there is none, or it belongs to another trainer, backbone or class list.
        """
        if not directory and self._models:
            raise UserError("--model-dir: missing; it names the folder of the run to evaluate.")
        origin = self._origin(transfer=True)
        for name, model in self._models.items():
            path = checkpoints.find(Path(directory) / name, epoch)
            content = checkpoints.load(path)
            checkpoints.check_origin(path, content, origin)
            try:
                model.load_state_dict(content["state_dict"])
            except RuntimeError as error:
                raise UserError(
                    f"{path}: does not fit TRAINER.{self.cfg.TRAINER.NAME.upper()} of this run "
                    f"({str(error).splitlines()[-1].strip()})."
                ) from error
            print(f"Load {path} (epoch={content['epoch']}, val_result={content['val_result']})")
        # a run that trains loads its own best epoch, and has chosen nothing yet
        if directory and not self._trains:
            self._evaluated = str(Path(directory).absolute())
            self._recall(Path(directory) / RESULT_FILE)

    def _recall(self, path: Path) -> None:
        """Take over what the evaluated run chose; searching again may see other images or classes.

        Raises:
            UserError: a method without checkpoint would be rebuilt from other images.
        """
        if not path.is_file():
            return
        result = read_result(path)
        if not self._models and not self.cfg.TRAINER.TRANSFER:
            lists = {"few-shot list": self._list_digests().get("train", "")}
            rebuilt_from = {"few-shot list": result.list_digest.get("train", "")}
            checkpoints.check_origin(path, {"origin": rebuilt_from}, lists)
        self.search_result = result.search
        self.chosen = dict(result.search.chosen) if result.search else {}

    def resume_model_if_exist(self, directory: StrPath) -> int:
        """Go on from what an unfinished run left; return the epoch to start with.

        Raises:
            UserError: what is there has another configuration, or RESUME names a folder with
                nothing to resume.
        """
        start = 0
        for name, model in self._models.items():
            path = Path(directory) / name / checkpoints.UNFINISHED
            if not path.is_file():
                if self.cfg.RESUME:
                    raise UserError(f"{path}: missing, so there is nothing to resume (RESUME).")
                return 0
            content = checkpoints.load(path)
            settings = {key: repr(value) for key, value in self._settings().items()}
            checkpoints.check_origin(path, {"origin": content["settings"]}, settings)
            checkpoints.check_origin(path, content, self._origin())
            model.load_state_dict(content["state_dict"])
            self._optimizer.load_state_dict(content["optimizer"])
            _fused(self._optimizer)
            self._scheduler.last_epoch = content["scheduler"]["last_epoch"]
            self.best_result = content["best_result"]
            start = content["epoch"]
            print(f"Resume from {path} (epoch={start})")
        return start

    def _save_unfinished(self) -> None:
        for name, model in self._models.items():
            content = {
                "state_dict": model.state_dict(),
                "epoch": self.epoch + 1,
                "optimizer": self._optimizer.state_dict(),
                "scheduler": {"last_epoch": self._scheduler.last_epoch},
                "best_result": float(self.best_result),
                "settings": {key: repr(value) for key, value in self._settings().items()},
                "origin": self._origin(),
            }
            checkpoints.save(content, Path(self.output_dir) / name / checkpoints.UNFINISHED)
        self._last_save = time.perf_counter()

    def _origin(self, transfer: bool = False) -> dict[str, str]:
        """Return what a checkpoint belongs to; with `transfer`, what must agree to evaluate it."""
        origin = {
            "trainer": str(self.cfg.TRAINER.NAME),
            "backbone": f"{self.provider.backbone_name} ({self.provider.fingerprint})",
            "class list": ", ".join(self.classnames),
        }
        if transfer and self.cfg.TRAINER.TRANSFER:
            if self.other_classes:
                raise UserError(f"TRAINER.TRANSFER: {self.other_classes}")
            del origin["class list"]
        return origin

    def _settings(self) -> dict[str, Any]:
        """Return all that a resumed run must have in common with the broken one."""
        shots = {"SEED": self.cfg.SEED, "DATASET.NUM_SHOTS": self.cfg.DATASET.NUM_SHOTS}
        return run_settings(self.cfg) | shots

    # ---- evaluation

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate on a split; without one, finally, on TEST.SPLIT, which writes result.json.

        Returns:
            The accuracy in percent.
        """
        final = split is None
        split = split or self.cfg.TEST.SPLIT
        self._require(split)
        self.set_model_mode("eval")
        if final and self.search_result is None:
            with self._clock("search"):
                self.search_result = self.search()
            if self.search_result is not None:
                if self._evaluated and self.cfg.TRAINER.TRANSFER:
                    raise UserError(
                        f"{self._evaluated}: has no {RESULT_FILE} that says which "
                        f"{', '.join(self.search_result.chosen)} to take; finish its run first."
                    )
                self.chosen = self.search_result.chosen
                print(f"Chosen on val: {self.chosen}")
        print(f"Evaluate on the *{split}* set")
        with self._clock("test"):
            self.evaluator.reset()
            zero_shot_correct = 0
            # to the terminal itself: the log has no use for a bar
            for batch in tqdm(self._loader(split), disable=None, desc=split):
                features, label = self.parse_batch_train(batch)
                self.evaluator.process(self.logits(features), label)
                zero_shot = F.normalize(features.global_features, dim=-1) @ self.text_features.T
                zero_shot_correct += int((zero_shot.argmax(1) == label).sum())
            results = self.evaluator.evaluate()
        for name, value in results.items():
            if isinstance(value, float):
                self.write_scalar(f"{split}/{name}", value, self.epoch)
        if final:
            self._write_run_files()
            zero_shot_accuracy = 100.0 * zero_shot_correct / len(self._items(split))
            write_result(Path(self.output_dir), self._result(split, results, zero_shot_accuracy))
        return float(results["accuracy"])

    def model_inference(self, input: Features) -> Tensor:
        """Return the logits [B, K] of features."""
        return self.logits(input)

    def _result(self, split: str, results: dict[str, Any], zero_shot_accuracy: float) -> Result:
        cfg = self.cfg
        total = len(self._items(split))
        accuracy = float(results["accuracy"])
        selected_on = SELECTED_LAST if self.head is not None else SELECTED_NOTHING
        if self.search_result is not None or (
            self.head is not None and cfg.TEST.FINAL_MODEL == "best_val"
        ):
            selected_on = SELECTED_VAL
        self._seconds["total"] = time.perf_counter() - self._started
        return Result(
            trainer=cfg.TRAINER.NAME,
            dataset=cfg.DATASET.NAME,
            shots=cfg.DATASET.NUM_SHOTS if self.uses_shots else 0,
            seed=cfg.SEED,
            split=split,
            classes=cfg.DATASET.SUBSAMPLE_CLASSES,
            accuracy=accuracy,
            macro_f1=float(results["macro_f1"]),
            correct=round(accuracy * total / 100),
            total=total,
            zero_shot_accuracy=zero_shot_accuracy,
            backbone=self.provider.backbone_name,
            backbone_fingerprint=self.provider.fingerprint,
            templates=list(self.templates),
            list_digest=self._list_digests(),
            comparable=getattr(self.dm.dataset, "comparable", True),
            selected_on=selected_on,
            search=self.search_result,
            trainable_parameters=self.trainable_parameters,
            epochs=self.max_epoch,
            config_digest=config_digest(cfg),
            device=self.device.type,
            seconds={name: round(value, 3) for name, value in self._seconds.items()},
            peak_memory_mib=round(peak_memory_mib(self.device), 1),
            versions=versions(vtclip=__version__, dassl=str(getattr(dassl, "__version__", "?"))),
            evaluated=self._evaluated,
        )

    # ---- small parts

    def _loader(self, split: str) -> Any:
        """Return an iterable of batches of features: augmented and shuffled for training."""
        loaders = self.cfg.DATALOADER
        if split != "train":
            with self._clock("features"):
                source = self.provider.split(split)
            return FeatureLoader([source], self._labels(split), loaders.TEST.BATCH_SIZE)
        with self._clock("features"):
            sources = self.provider.train_views(self.cfg.FEATURES.VIEWS)
        size = loaders.TRAIN_X.BATCH_SIZE
        return FeatureLoader(sources, self._labels(split), size, shuffle=True, drop_last=True)

    def _whole(self, source: FeatureSource) -> Features:
        return source.fetch(torch.arange(len(source))).to(self.device)

    def _require(self, split: str) -> None:
        if not self._items(split):
            raise UserError(
                f"DATASET.NAME {self.cfg.DATASET.NAME}: has no {split} images at "
                f"DATASET.NUM_SHOTS {self.cfg.DATASET.NUM_SHOTS}, which "
                f"{self.cfg.TRAINER.NAME} needs."
            )

    def _items(self, split: str) -> list[Any]:
        if split == "train" and getattr(self.dm.dataset, "test_only", False):
            # its train_x is the test list, for Dassl to take class names from
            return []
        return list(getattr(self.dm.dataset, SPLITS[split]) or [])

    def _labels(self, split: str) -> Tensor:
        return torch.tensor([item.label for item in self._items(split)])

    def _few_shot_lists(self) -> dict[str, list[tuple[str, int, str]]]:
        root = Path(self.cfg.DATASET.ROOT).expanduser().absolute()
        own = getattr(self.dm.dataset, "few_shot_lists", None)
        if own is not None:
            return dict(own)
        return {
            split: [
                (Path(item.impath).relative_to(root).as_posix(), item.label, item.classname)
                for item in self._items(split)
            ]
            for split in ("train", "val")
        }

    def _list_digests(self) -> dict[str, str]:
        return {
            split: digest_of(entries) if entries and self.uses_shots else ""
            for split, entries in self._few_shot_lists().items()
        }

    def _write_run_files(self) -> None:
        folder = Path(self.output_dir)
        write_text(folder / "config.yaml", self.cfg.dump())
        lists = self._few_shot_lists()
        digests = {split: digest_of(entries) for split, entries in lists.items()}
        write_json(folder / "few_shot_list.json", {"digest": digests, **lists})

    def _seed(self, part: int) -> None:
        """Seed Python, NumPy and PyTorch for a part of the run: 0 the start, e + 1 epoch e."""
        if self.cfg.SEED >= 0:
            # NumPy takes 32 bits
            set_random_seed((self.cfg.SEED * 100_000 + part) % 2**32)

    @contextmanager
    def _clock(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - started


def _fused(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Let Adam and AdamW pass over parameters and moments once a step, not ten times."""
    # a fused SGD fails on a parameter that gets its first gradient late
    if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
        for group in optimizer.param_groups:
            group["fused"] = True
    return optimizer


def _store(settings: CfgNode) -> FeatureStore | None:
    """Return the feature cache of the FEATURES node, None for none."""
    if not settings.CACHE:
        return None
    return FeatureStore(Path(settings.ROOT).expanduser() if settings.ROOT else None)


def _transform(cfg: CfgNode, *, is_train: bool) -> Transform:
    return cast(Transform, transforms.build_transform(cfg, is_train=is_train))


def _describe_transform(cfg: CfgNode, *, is_train: bool) -> str:
    """Describe what Dassl makes of the INPUT node, for the key of remembered features."""
    node = cfg.INPUT
    if is_train:
        return f"train {sorted(node.items())}"
    normalised = "normalize" in node.TRANSFORMS
    shown = (node.SIZE, node.INTERPOLATION, node.PIXEL_MEAN, node.PIXEL_STD, node.NO_TRANSFORM)
    return f"test {shown} normalize={normalised}"
