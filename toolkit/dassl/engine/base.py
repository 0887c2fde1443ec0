"""What a trainer does without data: models, checkpoints, updates and the loop over epochs."""

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dassl.utils import (
    load_checkpoint,
    mkdir_if_missing,
    resume_from_checkpoint,
    save_checkpoint,
)
from dassl.utils.checkpoint import BEST, LATEST
from dassl.utils.files import AnyPath

Names = str | Iterable[str] | None


class TrainerBase:
    """Registered models with their optimizers and schedules, and the loop over epochs.

    Attributes:
        epoch: index of the current epoch, from 0.
        start_epoch: index of the first epoch of this run; above 0 where it was resumed.
        max_epoch: number of epochs in all.
    """

    def __init__(self) -> None:
        """Start without models."""
        self._models: OrderedDict[str, nn.Module] = OrderedDict()
        self._optims: OrderedDict[str, Optimizer | None] = OrderedDict()
        self._scheds: OrderedDict[str, LRScheduler | None] = OrderedDict()
        self._writer: Any = None
        self.epoch = 0
        self.start_epoch = 0
        self.max_epoch = 0

    def register_model(
        self,
        name: str = "model",
        model: nn.Module | None = None,
        optim: Optimizer | None = None,
        sched: LRScheduler | None = None,
    ) -> None:
        """Enter what is trained and saved under `name`.

        Raises:
            ValueError: the name is taken, or there is no model.
        """
        if name in self._models:
            raise ValueError(f"a model called {name!r} is already registered")
        if model is None:
            raise ValueError(f"no model given to register as {name!r}")
        self._models[name] = model
        self._optims[name] = optim
        self._scheds[name] = sched

    def get_model_names(self, names: Names = None) -> list[str]:
        """Return `names` as a list, or all registered names if None.

        Raises:
            ValueError: a name is not registered.
        """
        registered = list(self._models)
        if names is None:
            return registered
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            if name not in registered:
                raise ValueError(f"no model called {name!r}; there are {', '.join(registered)}")
        return wanted

    def set_model_mode(self, mode: str = "train", names: Names = None) -> None:
        """Put models into the mode "train", or into evaluation ("eval" or "test").

        Raises:
            ValueError: `mode` is none of the three.
        """
        if mode not in ("train", "eval", "test"):
            raise ValueError(f'mode is "train", "eval" or "test", not {mode!r}')
        for name in self.get_model_names(names):
            self._models[name].train(mode == "train")

    # Checkpoints

    def save_model(
        self,
        epoch: int,
        directory: AnyPath,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Write a checkpoint of each model to `directory`/NAME.

        Args:
            epoch: index of the epoch just finished; the file is numbered `epoch + 1`.
            directory: folder of the run.
            is_best: write `model-best.pth.tar` as well.
            val_result: result on the validation split, percent.
            model_name: file name instead of `model.pth.tar-EPOCH`.
        """
        for name, model in self._models.items():
            optim, sched = self._optims[name], self._scheds[name]
            save_checkpoint(
                {
                    "state_dict": model.state_dict(),
                    "epoch": epoch + 1,
                    "optimizer": optim.state_dict() if optim else None,
                    "scheduler": sched.state_dict() if sched else None,
                    "val_result": val_result,
                },
                Path(directory, name),
                is_best=is_best,
                model_name=model_name,
            )

    def load_model(self, directory: AnyPath, epoch: int | None = None) -> None:
        """Load each model's weights from `directory`/NAME.

        Args:
            directory: folder of a run; empty: nothing is loaded, and a line says so.
            epoch: number of the checkpoint; None: `model-best.pth.tar`.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            RuntimeError: the checkpoint is of another model.
        """
        if not directory:
            print("No model is loaded, as no folder is given")
            return
        for name, model in self._models.items():
            path = Path(directory, name, BEST if epoch is None else f"model.pth.tar-{epoch}")
            checkpoint = load_checkpoint(path)
            model.load_state_dict(checkpoint["state_dict"])
            result = checkpoint.get("val_result")
            result_text = "none" if result is None else f"{result:.1f}"
            print(
                f'Loaded {name} from "{path}" '
                f"(epoch = {checkpoint['epoch']}, val_result = {result_text})"
            )

    def resume_model_if_exist(self, directory: AnyPath) -> int:
        """Put the latest checkpoints of `directory` into the models, where all of them have one.

        Returns:
            The index of the epoch to go on with; 0 if there was nothing to resume from.
        """
        if not all(Path(directory, name, LATEST).is_file() for name in self._models):
            print("No checkpoint found, training from the start")
            return 0
        epochs = [
            resume_from_checkpoint(
                Path(directory, name), model, self._optims[name], self._scheds[name]
            )
            for name, model in self._models.items()
        ]
        return min(epochs, default=0)

    # Updates

    def detect_anomaly(self, loss: torch.Tensor) -> None:
        """Check that a loss is finite.

        Raises:
            FloatingPointError: it is infinite or not a number.
        """
        if not torch.isfinite(loss).all():
            raise FloatingPointError(f"loss is {loss.detach()}, which is not finite")

    def model_zero_grad(self, names: Names = None) -> None:
        """Clear the gradients of the models' optimizers."""
        for optim in self._present_optims(names):
            optim.zero_grad()

    def model_backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of `loss`, once it is known to be finite.

        Raises:
            FloatingPointError: it is infinite or not a number.
        """
        self.detect_anomaly(loss)
        torch.autograd.backward(loss)

    def model_update(self, names: Names = None) -> None:
        """Take a step of the models' optimizers."""
        for optim in self._present_optims(names):
            optim.step()

    def model_backward_and_update(self, loss: torch.Tensor, names: Names = None) -> None:
        """Clear gradients, compute those of `loss` [] and take a step.

        Raises:
            FloatingPointError: the loss is infinite or not a number; nothing is updated.
        """
        self.model_zero_grad(names)
        self.model_backward(loss)
        self.model_update(names)

    def update_lr(self, names: Names = None) -> None:
        """Go to the learning rate of the next epoch; a trainer calls it on its last batch."""
        for name in self.get_model_names(names):
            sched = self._scheds[name]
            if sched is not None:
                sched.step()

    def get_current_lr(self, names: Names = None) -> float:
        """Return the learning rate of the first model that is optimized; 0 if there is none."""
        for optim in self._present_optims(names):
            return float(optim.param_groups[0]["lr"])
        return 0.0

    def _present_optims(self, names: Names) -> list[Optimizer]:
        optims = (self._optims[name] for name in self.get_model_names(names))
        return [optim for optim in optims if optim is not None]

    # TensorBoard

    def init_writer(self, log_dir: AnyPath) -> None:
        """Open a TensorBoard writer in `log_dir`, unless one is open."""
        if self._writer is None:
            # A slow import, and of no use to who only tests a model.
            from torch.utils.tensorboard import SummaryWriter

            mkdir_if_missing(log_dir)
            self._writer = SummaryWriter(log_dir=str(log_dir))

    def close_writer(self) -> None:
        """Close the TensorBoard writer, if one is open."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def write_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        """Write a number to TensorBoard, if a writer is open."""
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)

    # The loop

    def train(self, start_epoch: int | None = None, max_epoch: int | None = None) -> None:
        """Run the epochs `start_epoch` to `max_epoch - 1`; `before_train` may set a later start.

        What is not given is as the attribute of that name says.
        """
        if start_epoch is not None:
            self.start_epoch = start_epoch
        if max_epoch is not None:
            self.max_epoch = max_epoch
        self.before_train()
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self.before_epoch()
            self.run_epoch()
            self.after_epoch()
        self.after_train()

    def before_train(self) -> None:
        """Do nothing; for trainers to fill in."""

    def after_train(self) -> None:
        """Do nothing; for trainers to fill in."""

    def before_epoch(self) -> None:
        """Do nothing; for trainers to fill in."""

    def after_epoch(self) -> None:
        """Do nothing; for trainers to fill in."""

    def run_epoch(self) -> None:
        """Train for one epoch."""
        raise NotImplementedError

    def test(self, split: str | None = None) -> float:
        """Evaluate the models and return the result."""
        raise NotImplementedError

    def parse_batch_train(self, batch: dict[str, Any]) -> Any:
        """Return from a training batch what `forward_backward` works on."""
        raise NotImplementedError

    def parse_batch_test(self, batch: dict[str, Any]) -> Any:
        """Return from a test batch the input and the labels."""
        raise NotImplementedError

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        """Train on one batch and return what to report of it."""
        raise NotImplementedError

    def model_inference(self, input: Any) -> torch.Tensor:
        """Return the scores [B, C] of a batch of inputs."""
        raise NotImplementedError
