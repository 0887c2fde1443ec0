"""The base trainer of every method on a frozen CLIP.

A method is a page: it declares its facts (:class:`vtclip.method.MethodFacts`) and fills in the
hooks below. `build_head` makes a module that is trained step by step, or `fit` works tensors out in
closed form; `logits` maps features to scores; `search`, where there is one, chooses
hyper-parameters on validation. docs/extending.md shows one from start to end.

It runs on Dassl.pytorch and on the stand-in in toolkit/, and relies on nothing of Dassl's that
current PyTorch has broken (warm-up schedulers, reading of checkpoints).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from dassl.data import DataManager
from dassl.engine import TrainerBase, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_optimizer
from dassl.utils import set_random_seed
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

from vtclip import checkpoints
from vtclip.backbones import VisualTokens
from vtclip.checkpointing import Checkpointing
from vtclip.config import check_cfg
from vtclip.dataset_facts import describe_dataset
from vtclip.errors import UserError
from vtclip.evaluation import evaluate, temperature_of_run
from vtclip.feature_provider import FeatureProvider
from vtclip.features import Features
from vtclip.features.images import lost_workers_in_one_line
from vtclip.interruption import ended_by_signals, raise_if_received
from vtclip.method import MethodFacts
from vtclip.methods.zero_shot import ensemble_texts
from vtclip.overlap import describe_overlap, overlap_of_run
from vtclip.prompts import templates_for
from vtclip.protocol import optimizer_departures, resolve_epochs
from vtclip.results import Search, Temperature, write_result
from vtclip.run_features import RunFeatures, build_provider
from vtclip.run_folder import finished_result, locked
from vtclip.run_record import (
    calibration_lines,
    identity_of_run,
    record_of_run,
    write_predictions_of_run,
    write_run_files,
)
from vtclip.saved_model import (
    FITTED,
    HEAD,
    TENSORS_FILE,
    TEXT_FEATURES,
    SavedModel,
    model_of_run,
    write_model,
)
from vtclip.scalars import Scalars
from vtclip.schedule import build_scheduler, fused
from vtclip.screen import epochs_progress, say, warn
from vtclip.stopwatch import Stopwatch
from vtclip.threads import is_small, one_thread_if

# features that were normalised in half precision
UNIT_TOLERANCE = 0.01


class FrozenCLIPTrainer(MethodFacts, Checkpointing, Scalars, TrainerX):
    """Trains a small head, fits one in closed form, or does neither, on features of a frozen CLIP.

    Attributes:
        schedule_by_step: advance the learning rate every step instead of every epoch.
        options: the configuration node of the method.
        provider: where features come from; its `embed_dim` is D.
        encoded_texts: [P, K, D] of the P prompts of each class, as encoded, on `device`.
        text_features: T [K, D] of the prompts, normalised, on `device`.
        scale: CLIP's exponentiated logit scale.
        head: the module that is trained step by step, None for none.
        fitted: the tensors that :meth:`fit` returned, by name, on `device`.
        selected_params: values of the hyper-parameters that `search` chose, by name.
        trainable_parameters: how many numbers are trained.
        progress: of the training.
    """

    schedule_by_step = False
    head: nn.Module | None
    train_loader_x: Any
    provider: FeatureProvider

    # ---- hooks: what a method fills in

    def tokens(self) -> VisualTokens | None:
        """Return the kind of spatial features that `logits` needs, None for none."""
        return None

    def build_head(self) -> nn.Module | None:
        """Return the module to train step by step, None for none."""
        return None

    def head_of(self, state_dict: Mapping[str, Tensor]) -> nn.Module | None:
        """Return a module that takes the tensors of a trained one; no training image is read.

        Args:
            state_dict: the tensors, for methods where they decide the shape of the module.
        """
        return self.build_head()

    def fit(self) -> Mapping[str, Tensor]:
        """Return what the method works out from training images at once, as named tensors.

        It is called once, before anything is tested. The tensors are saved with the run; an
        evaluation loads them and reads no training image.
        """
        return {}

    def logits(self, features: Features) -> Tensor:
        """Return the logits [B, K] of a batch of features on `device`."""
        raise NotImplementedError

    def loss(self, features: Features, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch, and its logits [B, K]: cross-entropy."""
        logits = self.logits(features)
        return F.cross_entropy(logits, label), logits

    def chooses_on_val(self) -> bool:
        """Return whether `fit` or `search` chooses on validation images, which a run then needs."""
        searches = type(self).search is not FrozenCLIPTrainer.search
        return searches and bool(self.options.get("SEARCH", True))

    def fixed(self) -> dict[str, float]:
        """Return the hyper-parameters that hold where nothing is searched, by name."""
        return {}

    def search(self) -> Search | None:
        """Choose hyper-parameters on validation, after training; None where there are none."""
        return None

    def attention(self, features: Features, layer: int = -1) -> Tensor:
        """Return where the texts look: weights [B, H, K, S] of a batch of features.

        Args:
            features: on `device`, with spatial features.
            layer: which cross-attention; -1 is the last one.

        Raises:
            UserError: the method has no such attention, or not so many layers.
        """
        raise UserError(
            f"{type(self).__name__}: its texts do not look at the image, so there is no attention "
            "to show; name a run of a method such as VTCLIP."
        )

    def moved_texts(self, features: Features) -> Tensor:
        """Return the texts [B, K, D] that a batch of images is compared with.

        Raises:
            UserError: the method leaves the texts where they are.
        """
        raise UserError(f"{type(self).__name__}: its texts do not move.")

    def resolved_options(self) -> dict[str, Any]:
        """Return the options of the method, with what "auto" stands for on this machine."""
        return dict(self.options)

    def build_optimizer(self, head: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of the head, by the OPTIM node."""
        optimizer: torch.optim.Optimizer = build_optimizer(head, self.cfg.OPTIM)
        return optimizer

    # ---- what a method may use; a split without images is a UserError

    def features(self, split: str) -> tuple[Features, Tensor]:
        """Return all features of "train" or "val" under the test transform, and labels [N]."""
        self._require_apart(split)
        return self.data.whole(split)

    def class_texts(self) -> Tensor:
        """Return the mean over the prompts of each class [K, D], of the length it is encoded at."""
        texts = self.encoded_texts.mean(0)
        if (self.encoded_texts.norm(dim=-1) - 1).abs().max() < UNIT_TOLERANCE:
            print(
                "Note: the text features are normalised, CLIP's own are about 10 long; the recipe "
                f"of {self.cfg.TRAINER.NAME} is for those, so its steps are too large here."
            )
        return texts

    @torch.no_grad()
    def scores(self, split: str, score: Callable[[Features], Tensor]) -> tuple[Tensor, Tensor]:
        """Return `score` of all batches of "train" or "val", [N, ...], and labels [N]."""
        self._require_apart(split)
        return self.data.scores(split, score)

    def train_views(self, count: int) -> tuple[list[Features], Tensor]:
        """Return `count` augmented views of the training images, in one order, and labels [N]."""
        return self.data.train_views(count), self.data.labels("train").to(self.device)

    # ---- building

    def __init__(self, cfg: CfgNode) -> None:
        """Build data, features and head.

        Raises:
            UserError: the configuration, the data or the weights cannot be used.
        """
        self.stopwatch = Stopwatch("features", "train", "search", "test")
        self.progress = epochs_progress(0, 0, 0)
        super().__init__(resolve_epochs(cfg, type(self)))

    @classmethod
    def restored(
        cls, model: SavedModel, cfg: CfgNode, provider: FeatureProvider, device: torch.device
    ) -> FrozenCLIPTrainer:
        """Return the trainer of a finished run as it was tested, without any data.

        Args:
            model: of the run.
            cfg: with the values of `model.config`.
            provider: has the backbone of the run, and no images.
            device: where logits are computed.

        Raises:
            UserError: a tensor does not fit the method.
        """
        trainer = cls.__new__(cls)
        TrainerBase.__init__(trainer)
        trainer.cfg, trainer.provider, trainer.device = cfg, provider, device
        trainer.options = cfg.TRAINER.get(cls.option_node(), CfgNode())
        trainer.classnames, trainer.templates = model.classnames, tuple(model.templates)
        trainer.scale, trainer.selected_params = model.scale, dict(model.selected_params)
        trainer.text_features = model.tensors[TEXT_FEATURES].to(device)
        sizes = {"K": len(model.classnames), "D": model.embed_dim}
        state_dict, fitted = model.part(HEAD), model.part(FITTED)
        place = Path(TENSORS_FILE)
        checkpoints.check_fitted(place, fitted or state_dict, cls.FITTED, sizes)
        trainer.fitted = {name: value.to(device) for name, value in fitted.items()}
        trainer.head = trainer.head_of(state_dict)
        if trainer.head is not None:
            content = {"state_dict": state_dict}
            checkpoints.load_into(trainer.head, content, place, f"TRAINER.{model.trainer.upper()}")
            trainer.register_model("head", trainer.head.to(device))
        trainer.set_model_mode("eval")
        return trainer

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse values that cannot work, before anything is read.

        Raises:
            UserError: names the key.
        """
        check_cfg(cfg)
        obstacle = self.transfer_obstacle(cfg)
        if cfg.TRAINER.TRANSFER and obstacle:
            raise UserError(f"TRAINER.TRANSFER: {obstacle}")
        if self.uses_shots and cfg.DATASET.NUM_SHOTS == 0:
            raise UserError(
                f"DATASET.NUM_SHOTS: 0, but {cfg.TRAINER.NAME} needs training images; -1 takes "
                "all of them."
            )
        self.options = cfg.TRAINER.get(self.option_node(), CfgNode())
        for line in optimizer_departures(cfg, type(self)):
            say(line)

    def build_data_loader(self) -> None:
        """Build Dassl's data manager; take note of classes and of the few-shot lists."""
        # the datasets of a CoOp fork draw their lists on it; see ImageDataset for why
        if self.cfg.SEED >= 0:
            random.seed(self.cfg.SEED)
        # batches of features take the place of Dassl's batches of pixels, so its loaders need no
        # transform, and print none that is not in use
        self.dm = DataManager(self.cfg, custom_tfm_train=_as_it_is, custom_tfm_test=_as_it_is)
        self.num_classes, self.lab2cname = self.dm.num_classes, self.dm.lab2cname
        self.train_loader_x, self.train_loader_u = self.dm.train_loader_x, self.dm.train_loader_u
        self.val_loader, self.test_loader = self.dm.val_loader, self.dm.test_loader
        self.facts = describe_dataset(self.dm.dataset, self.cfg)
        self.classnames = self.facts.classnames
        prompt = self.cfg.TRAINER.PROMPT
        self.templates = templates_for(
            self.prompts if prompt == "auto" else prompt, self.cfg.DATASET.NAME, self.facts.template
        )
        self.overlap = overlap_of_run(self.facts, self.cfg.FEATURES.KEY == "content")
        for split, pairs in self.overlap.items():
            if pairs:
                warn(f"Warning: {describe_overlap(pairs, split, 'test')}.")
        print(f"Prompts: {' | '.join(self.templates)}")
        print(f"Class names: {', '.join(self.classnames)}")

    def build_model(self) -> None:
        """Build the features and the head with its optimizer."""
        self.cfg, self.provider = build_provider(self.cfg, self.facts, self.tokens(), self.device)
        self.data = RunFeatures(
            *(self.cfg, self.facts, self.provider, self.device, self.stopwatch),
            drop_last=self.drop_last,
            pool_views=self.pool_views,
        )
        self.scale = self.provider.scale
        with self.stopwatch("features"):
            texts = self.provider.encode_texts(self.templates, self.classnames)
        self.encoded_texts = texts.to(self.device)
        self.text_features = ensemble_texts(self.encoded_texts)
        self.search_result: Search | None = None
        self.selected_params: dict[str, float] = {}
        self.fitted: dict[str, Tensor] = {}
        self.recalled_temperature: Temperature | None = None
        self.evaluated = ""
        self.fits = type(self).fit is not FrozenCLIPTrainer.fit
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
        self.optimizer = fused(self.build_optimizer(self.head))
        steps_per_epoch = len(self.data.loader("train")) if self.schedule_by_step else 1
        self.scheduler = build_scheduler(self.optimizer, self.cfg.OPTIM, steps_per_epoch)
        self.register_model("head", self.head, self.optimizer, self.scheduler)

    # ---- training

    def train(self, *args: Any) -> None:
        """Train and test, unless the folder holds the result of this very run.

        Raises:
            UserError: the folder holds the result of another run, or another process is in it.
        """
        folder = Path(self.output_dir)
        with locked(folder):
            self._trains = True
            result = finished_result(folder, identity_of_run(self))
            if result is not None:
                say(
                    f"{folder}: has a result already ({result.accuracy:.2f} %); remove the folder "
                    "to run it again"
                )
                return
            # the command line of another project may heed Ctrl-C alone
            with ended_by_signals(), self.scalars_written(), self.saved_on_the_way_out():
                super().train(*args)

    def before_train(self) -> None:
        """Resume where there is something to resume, then build the training loader or fit."""
        if self.head is not None:
            self.data.require("train")
        if self.cfg.TEST.FINAL_MODEL == "best_val" or self.chooses_on_val():
            self.data.require("val")
            self._require_apart("val")
        super().before_train()
        write_run_files(self)
        if self.head is not None:
            self.train_loader_x = self.data.loader("train")
        with self.stopwatch("train"), self._threads_for_shots():
            self.fitted = {name: value.to(self.device) for name, value in self.fit().items()}
        if self.fitted:
            self.save_fitted()
        self._train_started = time.perf_counter()
        steps = 0 if self.head is None else len(self.train_loader_x)
        self.progress = epochs_progress(self.start_epoch, self.max_epoch, steps)

    def before_epoch(self) -> None:
        """Seed the epoch by its number, so that a resumed run draws what an unbroken one draws."""
        self._seed(self.epoch + 1)

    def parse_batch_train(self, batch: dict[str, Any]) -> Any:
        """Return features and labels [B] on `device`."""
        return batch["features"].to(self.device), batch["label"].to(self.device, non_blocking=True)

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        """Take one step on the loss of a batch.

        Returns:
            "loss", and "acc" in percent.

        Raises:
            UserError: the loss is not finite.
        """
        raise_if_received()
        with self._threads_of_a_step(len(batch["label"])):
            return self._step(*self.parse_batch_train(batch))

    def _step(self, features: Features, label: Tensor) -> dict[str, float]:
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
        value = loss.item()
        self.progress.advance(1, f"epoch {self.epoch + 1}/{self.max_epoch}, loss {value:.4f}")
        return {"loss": value, "acc": accuracy}

    def after_epoch(self) -> None:
        """Save what is needed to go on after a break, besides what Dassl saves."""
        # a method may have steps of its own
        self.progress.reach((self.epoch + 1) * self.num_batches)
        super().after_epoch()
        self.save_unfinished_now_and_then()

    def after_train(self) -> None:
        """Test the final model; a finished run has nothing left to resume."""
        self.stopwatch.add("train", time.perf_counter() - self._train_started)
        self.progress.close()
        super().after_train()
        self.remove_unfinished()

    # ---- evaluation

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate on a split; without one, finally, on TEST.SPLIT, which writes the results.

        Returns:
            The accuracy in percent.

        Raises:
            UserError: scores are not finite, or OUTPUT_DIR holds the result of another run.
        """
        final = split is None
        split = split or self.cfg.TEST.SPLIT
        if final:
            finished_result(Path(self.output_dir), identity_of_run(self))
        self.data.require(split)
        self.set_model_mode("eval")
        if final:
            self._search()
        print(f"Evaluate on the *{split}* set")
        with self.stopwatch("test"), lost_workers_in_one_line():
            temperature = temperature_of_run(self, split) if final else Temperature()
            loader = self.data.loader(split)
            results, predictions = evaluate(self, loader, temperature.value)
        for name, value in results.items():
            if isinstance(value, float):
                self.write_scalar(f"{split}/{name}", value, self.epoch)
        if final:
            write_run_files(self)
            write_predictions_of_run(self, split, predictions)
            if not self.evaluated:
                write_model(Path(self.output_dir), model_of_run(self))
            record = record_of_run(self, split, results, predictions, temperature)
            write_result(Path(self.output_dir), record)
            print(calibration_lines(record))
        return float(results["accuracy"])

    def model_inference(self, input: Features) -> Tensor:
        """Return the logits [B, K] of features."""
        return self.logits(input)

    def _search(self) -> None:
        """Search hyper-parameters, unless an evaluated run has chosen them before."""
        if self.search_result is not None:
            return
        if not self.chooses_on_val():
            if "SEARCH" in self.options:
                print(f"Fixed, not searched: {self.fixed()}")
            return
        with self.stopwatch("search"), self._threads_for_shots():
            self.search_result = self.search()
        if self.search_result is None:
            return
        self.selected_params = self.search_result.chosen
        print(f"Chosen on val: {self.selected_params}")

    # ---- small parts

    def chosen(self, name: str) -> float:
        """Return a hyper-parameter: what the search chose, else, without a search, the fixed value.

        Raises:
            UserError: the search of a loaded run chose others.
        """
        if not self.selected_params:
            return self.fixed()[name]
        if name not in self.selected_params:
            raise UserError(
                f"{type(self).__name__}: the run chose {', '.join(self.selected_params)}, and not "
                f"{name}; it is of another version of the method, so train it again."
            )
        return self.selected_params[name]

    def images_per_class(self) -> float:
        """Return the number of training images over the number of classes."""
        return len(self.data.labels("train")) / len(self.text_features)

    def _threads_of_a_step(self, images: int) -> AbstractContextManager[None]:
        """Return one thread where a step is small, however often each parameter is used, else all.

        Nothing is counted here: a step that is watched by PyTorch's dispatch adds up in another
        order, and a resumed run would differ from an unbroken one.
        """
        # a backward pass has twice the products of the forward pass
        products = 3 * images * self.num_classes * self.trainable_parameters
        return one_thread_if(self.provider.is_light and is_small(products))

    def _threads_for_shots(self) -> AbstractContextManager[None]:
        """Return one thread where the product of training images and texts is small, else all.

        A fit may encode images first, for which a large backbone needs all threads.
        """
        products = len(self.facts.items["train"]) * self.num_classes * self.provider.embed_dim
        return one_thread_if(self.provider.is_light and is_small(products))

    def _require_apart(self, split: str) -> None:
        """Refuse a choice on validation images that the test counts too.

        Raises:
            UserError: names one of the images.
        """
        if split == "val" and self.overlap["val"]:
            shared = describe_overlap(self.overlap["val"], "val", "test")
            raise UserError(
                f"DATASET.NAME {self.cfg.DATASET.NAME}: {shared}, so {self.cfg.TRAINER.NAME} would "
                "choose on the test; take its validation images from elsewhere."
            )

    def _seed(self, part: int) -> None:
        """Seed Python, NumPy and PyTorch for a part of the run: 0 the start, e + 1 epoch e."""
        if self.cfg.SEED >= 0:
            # NumPy takes 32 bits
            set_random_seed((self.cfg.SEED * 100_000 + part) % 2**32)


def _as_it_is(image: Any) -> Any:
    return image
