"""Trainers with data: everything around a model and its `forward_backward`."""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm
from yacs.config import CfgNode

from dassl.data import DataManager
from dassl.engine.base import TrainerBase
from dassl.evaluation import EVALUATOR_REGISTRY, build_evaluator
from dassl.utils import AverageMeter, MetricMeter, check_availability, load_checkpoint
from dassl.utils.checkpoint import BEST
from dassl.utils.checks import check_whole

FINAL_MODELS = ("last_step", "best_val")
SPLITS = ("test", "val")


class SimpleTrainer(TrainerBase):
    """Loaders, evaluation, checkpoints and resuming; a plug-in gives `build_model`.

    Attributes:
        cfg: the configuration.
        device: "cuda" if there is one and USE_CUDA, else "cpu".
        dm: the `DataManager`; its loaders and class names are attributes of the trainer too.
        evaluator: the evaluator.
        best_result: best result on the validation split, with TEST.FINAL_MODEL best_val.
    """

    model: nn.Module

    def __init__(self, cfg: CfgNode) -> None:
        """Check the configuration, then build data, model and evaluator, in this order.

        Raises:
            ValueError: the configuration has an unknown name or a number out of range; one line
                that begins with the key.
        """
        super().__init__()
        _check(cfg)
        self.check_cfg(cfg)
        self.cfg = cfg
        use_cuda = cfg.USE_CUDA and torch.cuda.is_available()
        self.device = torch.device("cuda" if use_cuda else "cpu")
        self.max_epoch = cfg.OPTIM.MAX_EPOCH
        self.output_dir = cfg.OUTPUT_DIR
        self.best_result = -float("inf")
        self.build_data_loader()
        self.build_model()
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)

    def check_cfg(self, cfg: CfgNode) -> None:
        """Raise if the configuration does not suit the trainer; for trainers to fill in."""

    def build_data_loader(self) -> None:
        """Build `self.dm` and take over its loaders and classes."""
        self.dm = DataManager(self.cfg)
        self.train_loader_x = self.dm.train_loader_x
        self.train_loader_u = self.dm.train_loader_u
        self.val_loader = self.dm.val_loader
        self.test_loader = self.dm.test_loader
        self.num_classes = self.dm.num_classes
        self.num_source_domains = self.dm.num_source_domains
        self.lab2cname = self.dm.lab2cname

    def build_model(self) -> None:
        """Build the model and register what of it is trained."""
        raise NotImplementedError

    def _selects_on_val(self) -> bool:
        return bool(self.cfg.TEST.FINAL_MODEL == "best_val" and not self.cfg.TEST.NO_TEST)

    def before_train(self) -> None:
        """Resume from RESUME or OUTPUT_DIR, open the TensorBoard writer, start the clock.

        Raises:
            ValueError: TEST.FINAL_MODEL is best_val and there are no validation images.
        """
        if self._selects_on_val() and self.val_loader is None:
            raise ValueError("TEST.FINAL_MODEL: best_val needs validation images, there are none")
        directory = self.cfg.RESUME or self.output_dir
        self.start_epoch = self.resume_model_if_exist(directory)
        if self.start_epoch > 0 and self._selects_on_val():
            # Without it, the first epoch after resuming would count as the best.
            best = Path(directory, next(iter(self._models)), BEST)
            if best.is_file():
                self.best_result = load_checkpoint(best)["val_result"]
        self.init_writer(Path(self.output_dir, "tensorboard"))
        self.time_start = time.time()

    def after_train(self) -> None:
        """Test the final model unless TEST.NO_TEST, print the time taken, close the writer."""
        print("Finish training")
        if not self.cfg.TEST.NO_TEST:
            if self._selects_on_val():
                print("Testing the model that was best on val")
                self.load_model(self.output_dir)
            else:
                print("Testing the model of the last epoch")
            self.test()
        print(f"Elapsed: {_clock(time.time() - self.time_start)}")
        self.close_writer()

    def after_epoch(self) -> None:
        """Select on validation if so configured, and write the checkpoints that are due."""
        done = self.epoch + 1
        frequency = self.cfg.TRAIN.CHECKPOINT_FREQ
        result: float | None = None
        if self._selects_on_val():
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = result
                self.save_model(self.epoch, self.output_dir, val_result=result, model_name=BEST)
        if done == self.max_epoch or (frequency > 0 and done % frequency == 0):
            self.save_model(self.epoch, self.output_dir, val_result=result)

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate on a split and return the first result, the accuracy in percent.

        Args:
            split: "test" or "val"; `TEST.SPLIT` if None.

        Raises:
            ValueError: no such split, or it has no images.
        """
        key = "split" if split else "TEST.SPLIT"
        split = split or self.cfg.TEST.SPLIT
        check_availability(split, SPLITS, key)
        loader = self.val_loader if split == "val" else self.test_loader
        if loader is None:
            raise ValueError(f"the dataset has no {split} split")
        self.set_model_mode("eval")
        self.evaluator.reset()
        print(f"Evaluate on the *{split}* set")
        # To the terminal itself, as the log file has no use for a bar; silent without a terminal.
        for batch in tqdm(loader, disable=None, file=sys.__stderr__):
            image, label = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(image), label)
        results = self.evaluator.evaluate()
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def model_inference(self, input: Any) -> torch.Tensor:
        """Return `self.model` of the input: scores [B, C]."""
        scores: torch.Tensor = self.model(input)
        return scores

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Any, torch.Tensor]:
        """Return images [B, 3, H, W] and labels [B], on the device."""
        return self._to_device(batch["img"]), self._to_device(batch["label"])

    def _to_device(self, value: Any) -> Any:
        """Move a tensor or, with K_TRANSFORMS, a list of tensors."""
        if isinstance(value, list):
            return [self._to_device(item) for item in value]
        return value.to(self.device, non_blocking=True)


class TrainerX(SimpleTrainer):
    """Trains on labelled images; a plug-in gives `build_model` and `forward_backward`.

    Attributes:
        batch_idx: index of the current batch, from 0.
        num_batches: number of batches of an epoch.
    """

    def run_epoch(self) -> None:
        """Call `forward_backward` on each training batch and report what it returns.

        A line is printed every TRAIN.PRINT_FREQ batches, and on the last one where an epoch is
        shorter than that.
        """
        self.set_model_mode("train")
        losses = MetricMeter()
        batch_time, data_time = AverageMeter(), AverageMeter()
        self.num_batches = len(self.train_loader_x)
        frequency = min(self.cfg.TRAIN.PRINT_FREQ, self.num_batches)
        end = time.time()
        for batch_idx, batch in enumerate(self.train_loader_x):
            self.batch_idx = batch_idx
            data_time.update(time.time() - end)
            # Before the step: on the last batch, plug-ins go on to the rate of the next epoch.
            lr = self.get_current_lr()
            summary = self.forward_backward(batch)
            batch_time.update(time.time() - end)
            losses.update(summary)
            done = batch_idx + 1
            if done % frequency == 0:
                left = self.num_batches - done
                left += (self.max_epoch - self.epoch - 1) * self.num_batches
                print(
                    f"epoch [{self.epoch + 1}/{self.max_epoch}] batch [{done}/{self.num_batches}] "
                    f"time {batch_time.val:.3f} ({batch_time.avg:.3f}) "
                    f"data {data_time.val:.3f} ({data_time.avg:.3f}) "
                    f"{losses} lr {lr:.4e} eta {_clock(batch_time.avg * left)}"
                )
            step = self.epoch * self.num_batches + batch_idx
            for name, meter in losses.meters.items():
                self.write_scalar(f"train/{name}", meter.avg, step)
            self.write_scalar("train/lr", lr, step)
            end = time.time()

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Return images [B, 3, H, W] (a list with K_TRANSFORMS), labels [B], domains [B]."""
        return (
            self._to_device(batch["img"]),
            self._to_device(batch["label"]),
            self._to_device(batch["domain"]),
        )


def _check(cfg: CfgNode) -> None:
    """Check what is used only after the data is loaded, or after training."""
    check_availability(cfg.TEST.FINAL_MODEL, FINAL_MODELS, "TEST.FINAL_MODEL")
    check_availability(cfg.TEST.SPLIT, SPLITS, "TEST.SPLIT")
    check_availability(cfg.TEST.EVALUATOR, EVALUATOR_REGISTRY.registered_names(), "TEST.EVALUATOR")
    check_whole(cfg.OPTIM.MAX_EPOCH, "OPTIM.MAX_EPOCH")
    check_whole(cfg.TRAIN.PRINT_FREQ, "TRAIN.PRINT_FREQ", low=1)
    check_whole(cfg.TRAIN.CHECKPOINT_FREQ, "TRAIN.CHECKPOINT_FREQ", low=None)


def _clock(seconds: float) -> str:
    """Return h:mm:ss; a day is 24 more hours."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"
