"""How a trainer saves, loads and resumes what it trained; a part of the base trainer."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from vtclip import checkpoints
from vtclip.errors import UserError
from vtclip.protocol import EVALUATION_KEYS, run_settings
from vtclip.results import RESULT_FILE, Search, read_result
from vtclip.schedule import fused
from vtclip.screen import say

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LambdaLR
    from yacs.config import CfgNode

    from vtclip.dataset_facts import DatasetFacts
    from vtclip.feature_provider import FeatureProvider

# a broken run loses about this much training at most
SECONDS_BETWEEN_SAVES = 30.0
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
            self._recall(Path(directory) / RESULT_FILE)

    def _load_head(self, model: nn.Module, content: dict[str, Any], path: Path) -> None:
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

    def _recall(self, path: Path) -> None:
        """Take over what the evaluated run chose; a new search might see other images."""
        if path.is_file():
            result = read_result(path)
            self.search_result = result.search
            self.selected_params = dict(result.search.chosen) if result.search else {}

    def resume_model_if_exist(self, directory: StrPath) -> int:
        """Go on from what an unfinished run left; return the epoch to start with.

        Raises:
            UserError: what is there has another configuration, or RESUME names a folder with
                nothing to resume.
        """
        start = 0
        self._last_save = time.perf_counter()
        for name, model in self._models.items():
            folder = Path(directory) / name
            path = folder / checkpoints.UNFINISHED
            if not path.is_file():
                if self.cfg.RESUME:
                    raise UserError(f"{path}: missing, so there is nothing to resume (RESUME).")
                checkpoints.clear(folder, self._settings())
                return 0
            content = checkpoints.load(path)
            checkpoints.check_origin(path, {"origin": content["settings"]}, self._settings())
            checkpoints.check_origin(path, content, self._origin())
            checkpoints.check_unfinished(path, content, self.optimizer, self.max_epoch)
            self._load_head(model, content, path)
            self.optimizer.load_state_dict(content["optimizer"])
            fused(self.optimizer)
            self.scheduler.last_epoch = content["scheduler"]["last_epoch"]
            self.best_result = content["best_result"]
            start = content["epoch"]
            say(f"Resume from {path} (epoch={start})")
        return start

    def save_unfinished_now_and_then(self) -> None:
        """Save what a break would lose, where the last time is SECONDS_BETWEEN_SAVES ago."""
        due = time.perf_counter() - self._last_save > SECONDS_BETWEEN_SAVES
        if due and self.epoch + 1 < self.max_epoch:
            self._save_unfinished()

    def remove_unfinished(self) -> None:
        """Remove what a finished run no longer needs to go on."""
        for name in self._models:
            (Path(self.output_dir) / name / checkpoints.UNFINISHED).unlink(missing_ok=True)

    def _save_unfinished(self) -> None:
        for name, model in self._models.items():
            content = {
                "state_dict": model.state_dict(),
                "epoch": self.epoch + 1,
                "optimizer": self.optimizer.state_dict(),
                "scheduler": {"last_epoch": self.scheduler.last_epoch},
                "best_result": float(self.best_result),
                "settings": self._settings(),
                "origin": self._origin(),
            }
            checkpoints.save(content, Path(self.output_dir) / name / checkpoints.UNFINISHED)
        self._last_save = time.perf_counter()

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
