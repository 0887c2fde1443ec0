"""How a trainer saves, loads and resumes what it trained; a part of the base trainer."""

from __future__ import annotations

import copy
import os
import signal
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from vtclip import checkpoints
from vtclip.errors import UserError
from vtclip.features.images import LostWorkers, lost_workers_in_one_line
from vtclip.interruption import Interrupted
from vtclip.protocol import EVALUATION_KEYS, run_settings
from vtclip.results import RESULT_FILE, Search, Temperature, read_result
from vtclip.schedule import fused
from vtclip.screen import say

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LambdaLR
    from yacs.config import CfgNode

    from vtclip.dataset_facts import DatasetFacts
    from vtclip.feature_provider import FeatureProvider

# a broken run loses about this much training at most
SECONDS_BETWEEN_SAVES = 30.0
# copies of the state take at most this share of the time; short epochs may go without one
LARGEST_SHARE_OF_COPIES = 0.05
FITTED = "fitted"
StrPath = str | os.PathLike[str]


class Checkpointing:
    """Overrides the checkpoint methods of Dassl's trainers, whose files current PyTorch refuses."""

    cfg: CfgNode
    device: torch.device
    facts: DatasetFacts
    provider: FeatureProvider
    optimizer: torch.optim.Optimizer
    scheduler: LambdaLR
    fitted: dict[str, Tensor]
    search_result: Search | None
    selected_params: dict[str, float]
    recalled_temperature: Temperature | None
    evaluated: str
    epoch: int
    max_epoch: int
    output_dir: str
    fits: bool
    FITTED: ClassVar[Mapping[str, str]]
    best_result: float
    _models: OrderedDict[str, nn.Module]
    _trains: bool
    _last_save = 0.0
    _earlier_attempt: Mapping[Path, int] = {}
    _saved_epoch = 0
    _last_copy = 0.0
    _seconds_of_a_copy = 0.0
    # of the last epoch that was finished, where that is not saved
    _copied: Mapping[str, dict[str, Any]] = {}

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
                "settings": self._settings(),
                "origin": self._origin(),
            }
            folder = Path(directory) / name
            if model_name or is_best:
                checkpoints.save(content, folder / (model_name or checkpoints.BEST))
            else:
                checkpoints.save_latest(content, folder, epoch + 1)
                if epoch + 1 < self.max_epoch:
                    self._save_unfinished()

    def save_fitted(self) -> None:
        """Write the tensors that were fitted in closed form."""
        content = {
            "state_dict": self.fitted,
            "epoch": 0,
            "val_result": None,
            "settings": self._settings(),
            "origin": self._origin(),
        }
        checkpoints.save_latest(content, Path(self.output_dir) / FITTED, 0)

    def load_model(self, directory: StrPath, epoch: int | None = None) -> None:
        """Load what was trained: of `epoch`, else what the run was tested with.

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
            self._load_head(model, content, path)
            print(f"Load {path} (epoch={content['epoch']}, val_result={content.get('val_result')})")
        # a run that trains loads its own best epoch, and has chosen nothing yet
        if directory and not self._trains:
            self._load_fitted(Path(directory) / FITTED, origin)
            self.evaluated = str(Path(directory).absolute())
            self._recall(Path(directory) / RESULT_FILE, final=epoch is None)

    def _load_head(self, model: nn.Module, content: dict[str, Any], path: Path) -> None:
        # of a method with both, FITTED is what is fitted beside the head
        if not self.fits:
            checkpoints.check_fitted(path, content["state_dict"], self.FITTED, self._sizes())
        owner = f"TRAINER.{self.cfg.TRAINER.NAME.upper()}"
        checkpoints.load_into(model, content, path, owner)

    def _sizes(self) -> dict[str, int]:
        return {"K": len(self.facts.classnames), "D": self.provider.embed_dim}

    def _load_fitted(self, folder: Path, origin: dict[str, str]) -> None:
        if not self.fits:
            return
        path = checkpoints.find(folder, None)
        content = checkpoints.load(path)
        checkpoints.check_origin(path, content, origin)
        checkpoints.check_fitted(path, content["state_dict"], self.FITTED, self._sizes())
        self.fitted = {name: value.to(self.device) for name, value in content["state_dict"].items()}
        print(f"Load {path}")

    def _recall(self, path: Path, final: bool) -> None:
        """Take over what the evaluated run chose; a new search might see other images.

        Args:
            path: the result of that run.
            final: whether its final model is evaluated, which its temperature is of.
        """
        if path.is_file():
            result = read_result(path)
            self.search_result = result.search
            self.selected_params = dict(result.search.chosen) if result.search else {}
            self.recalled_temperature = result.temperature if final else None

    def resume_model_if_exist(self, directory: StrPath) -> int:
        """Go on from what an unfinished run left; return the epoch to start with.

        A damaged state is set aside, and the run begins anew.

        Raises:
            UserError: what is there has another configuration, or RESUME names a folder with
                nothing to resume or a damaged state.
        """
        start = 0
        self._last_save = time.perf_counter()
        for name, model in self._models.items():
            folder = Path(directory) / name
            path = folder / checkpoints.UNFINISHED
            if not path.is_file():
                if self.cfg.RESUME:
                    raise UserError(f"{path}: missing, so there is nothing to resume (RESUME).")
                self._earlier_attempt = checkpoints.earlier_attempt(folder, self._settings())
                return 0
            try:
                content = self._load_unfinished(model, path)
            except checkpoints.DamagedCheckpoint as error:
                if self.cfg.RESUME:
                    raise
                checkpoints.put_aside(path, error)
                self._earlier_attempt = checkpoints.earlier_attempt(folder, self._settings())
                return 0
            self.optimizer.load_state_dict(content["optimizer"])
            fused(self.optimizer)
            self.scheduler.last_epoch = content["scheduler"]["last_epoch"]
            self.best_result = content["best_result"]
            start = self._saved_epoch = content["epoch"]
            say(f"Resume from {path} (epoch={start})")
        return start

    def _load_unfinished(self, model: nn.Module, path: Path) -> dict[str, Any]:
        """Load the module of an unfinished run, and return all that was saved with it.

        Raises:
            DamagedCheckpoint: it is not what was saved.
            UserError: it is of another run.
        """
        content = checkpoints.load(path)
        checkpoints.check_origin(path, {"origin": content["settings"]}, self._settings())
        checkpoints.check_origin(path, content, self._origin())
        checkpoints.check_unfinished(path, content, self.optimizer, self.max_epoch)
        try:
            self._load_head(model, content, path)
        except UserError as error:  # with the settings of this run, it would fit
            raise checkpoints.DamagedCheckpoint(str(error)) from error
        return content

    def save_unfinished_now_and_then(self) -> None:
        """Save what a break would lose, where the last time is SECONDS_BETWEEN_SAVES ago."""
        due = time.perf_counter() - self._last_save > SECONDS_BETWEEN_SAVES
        if self.epoch + 1 < self.max_epoch:
            if due:
                self._save_unfinished()
            else:
                self._copy_unfinished()

    def remove_unfinished(self) -> None:
        """Remove what a finished run no longer needs to go on, and an earlier attempt at it."""
        checkpoints.remove_unchanged(self._earlier_attempt)
        for name in self._models:
            (Path(self.output_dir) / name / checkpoints.UNFINISHED).unlink(missing_ok=True)
        self._copied, self._saved_epoch = {}, self.max_epoch

    @contextmanager
    def saved_on_the_way_out(self) -> Iterator[None]:
        """Save the state after the last finished epoch where a signal ends the block.

        Raises:
            Interrupted: says what is saved.
            LostWorkers: a process that reads images was killed; says what is saved, too.
        """
        try:
            with lost_workers_in_one_line():
                yield
        except LostWorkers as error:
            raise LostWorkers(f"{error} Of the training: {self._save_copied()}.") from error
        except KeyboardInterrupt as error:
            number = error.number if isinstance(error, Interrupted) else signal.SIGINT
            raise Interrupted(number, self._save_copied()) from None

    def _save_copied(self) -> str:
        """Save the copy of the state, if there is one; return what a further run starts from."""
        try:
            if self._copied:
                self._write_unfinished(self._copied)
        except UserError as error:
            return f"not saved: {error}"
        if not self._saved_epoch:
            return "no epoch was finished; the same command starts anew"
        return (
            f"saved after epoch {self._saved_epoch} of {self.max_epoch}; the same command goes on "
            "from there"
        )

    def _save_unfinished(self) -> None:
        self._write_unfinished(self._unfinished())
        self._last_save = time.perf_counter()

    def _write_unfinished(self, states: Mapping[str, dict[str, Any]]) -> None:
        for name, content in states.items():
            checkpoints.save(content, Path(self.output_dir) / name / checkpoints.UNFINISHED)
            self._saved_epoch = content["epoch"]
        # an older one must not replace it
        self._copied = {}

    def _copy_unfinished(self) -> None:
        started = time.perf_counter()
        if self._seconds_of_a_copy <= LARGEST_SHARE_OF_COPIES * (started - self._last_copy):
            self._copied = copy.deepcopy(self._unfinished())
            self._last_copy = time.perf_counter()
            self._seconds_of_a_copy = self._last_copy - started

    def _unfinished(self) -> dict[str, dict[str, Any]]:
        """Return what a run goes on from, by the name of the trained module."""
        return {
            name: {
                "state_dict": model.state_dict(),
                "epoch": self.epoch + 1,
                "optimizer": self.optimizer.state_dict(),
                "scheduler": {"last_epoch": self.scheduler.last_epoch},
                "best_result": float(self.best_result),
                "settings": self._settings(),
                "origin": self._origin(),
            }
            for name, model in self._models.items()
        }

    def _origin(self, transfer: bool = False) -> dict[str, str]:
        """Return what a checkpoint belongs to; with `transfer`, what must agree to evaluate it."""
        origin = {
            "trainer": str(self.cfg.TRAINER.NAME),
            "backbone": f"{self.provider.backbone_name} ({self.provider.fingerprint})",
            "class list": ", ".join(self.facts.classnames),
        }
        if transfer and self.cfg.TRAINER.TRANSFER:
            del origin["class list"]
        return origin

    def _settings(self) -> dict[str, str]:
        """Return all that a resumed run must have in common with the broken one, as texts."""
        shots = {"SEED": self.cfg.SEED, "DATASET.NUM_SHOTS": self.cfg.DATASET.NUM_SHOTS}
        settings = run_settings(self.cfg) | shots
        return {k: repr(value) for k, value in settings.items() if k not in EVALUATION_KEYS}
