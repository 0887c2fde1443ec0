"""A folder of a finished run for a model hub, which vtclip.load loads as it loads the run."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from vtclip.errors import UserError
from vtclip.export.card import card_of
from vtclip.export.facts import backbone_of, without_folder, without_folders
from vtclip.files import write_json, write_text
from vtclip.predictor import Restored
from vtclip.results import RESULT_FILE, Result, read_result, write_result
from vtclip.saved_model import SavedModel, write_model

CARD_FILE = "README.md"
CLASSES_FILE = "classes.json"
BACKBONE_KEY = "MODEL.BACKBONE.NAME"


def check_new_folder(folder: Path) -> None:
    """Refuse a path where something is already.

    Raises:
        UserError: it is a file, or a folder with files.
    """
    try:
        if folder.is_dir() and not any(folder.iterdir()):
            return
        if not os.path.lexists(folder):
            return
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}).") from error
    kind = "holds files already" if folder.is_dir() else "is not a folder"
    raise UserError(f"{folder}: {kind}; name a new folder.")


def write_folder(run: Restored, folder: Path) -> None:
    """Write model.safetensors, model.json, result.json, classes.json and README.md.

    The folder is there when all of them are. No path of this machine is in it.

    Args:
        run: a restored one.
        folder: a new or empty one.

    Raises:
        UserError: it holds files, the result of the run is damaged, or nothing can be written.
    """
    check_new_folder(folder)
    backbone = backbone_of(run.model)
    model = _published_model(run.model, backbone)
    result = _published_result(read_result(run.folder / RESULT_FILE), backbone)
    card = card_of(run.model, result)
    folder = Path(os.path.abspath(folder))  # noqa: PTH100  the name of "." is needed, no link's end
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}).") from error
    try:
        write_model(made, model)
        write_result(made, result)
        write_json(made / CLASSES_FILE, model.classnames)
        write_text(made / CARD_FILE, card)
        # mkdtemp makes folders that only their owner can enter
        umask = os.umask(0)
        os.umask(umask)
        made.chmod(0o777 & ~umask)
        made.replace(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}).") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _published_model(model: SavedModel, backbone: str) -> SavedModel:
    config = {**without_folders(model.config), BACKBONE_KEY: backbone}
    return replace(model, backbone=backbone, config=config)


def _published_result(result: Result, backbone: str) -> Result:
    """Return a result that names no folder of the machine it was made on."""
    versions = {
        # clip is given as the folder it was imported from and the digest of its code
        name: value[value.rfind("(") :] if name == "clip" else value
        for name, value in result.versions.items()
    }
    return replace(
        result,
        backbone=backbone,
        dataset_root="",
        evaluated=without_folder(result.evaluated),
        settings={**without_folders(result.settings), BACKBONE_KEY: backbone},
        versions=versions,
    )
