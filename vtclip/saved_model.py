"""What a finished run needs to predict, complete in its folder: model.json and model.safetensors.

The folder can be moved to another machine. Of what is outside it, only the weights of the backbone
are needed, which are recognised by their fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtclip.errors import UserError, shortened
from vtclip.expectations import (
    LINE,
    NAME,
    NUMBER,
    SETTING,
    TEXT,
    TRUE_OR_FALSE,
    Expectation,
    list_of,
    mapping_of,
    whole_number,
)
from vtclip.files import atomic_path, read_json, require_file, sha256_of_file, write_json
from vtclip.results import RESULT_FILE

if TYPE_CHECKING:
    from torch import Tensor

    from vtclip.engine import FrozenCLIPTrainer

MODEL_FILE = "model.json"
TENSORS_FILE = "model.safetensors"
FORMAT = 1

TEXT_FEATURES = "text_features"
HEAD, FITTED = "head.", "fitted."

# what Dassl's test transform is made from
TRANSFORM_KEYS = (
    "INPUT.SIZE",
    "INPUT.INTERPOLATION",
    "INPUT.PIXEL_MEAN",
    "INPUT.PIXEL_STD",
    "INPUT.TRANSFORMS",
    "INPUT.NO_TRANSFORM",
)


@dataclass(frozen=True)
class SavedModel:
    """A finished run as far as its predictions need it.

    Attributes:
        trainer: name of the method.
        config: configuration values by dotted key: options of the method, backbone, transform.
            What "auto" stood for on the machine of the run is written out.
        classnames: of the K classes, in the order of labels.
        templates: the prompt templates that the text features were made from.
        backbone, backbone_fingerprint: its name, and the digest of its weights.
        from_images: False for a run on a file of features, whose backbone may not be known here.
        embed_dim, backbone_dim: D and C of the features.
        scale: the exponentiated logit scale.
        selected_params: what validation chose, by name.
        tensors: on the CPU: "text_features" [K, D], those of the trained module as "head.NAME",
            those fitted in closed form as "fitted.NAME".
    """

    trainer: str
    config: dict[str, Any]
    classnames: list[str]
    templates: list[str]
    backbone: str
    backbone_fingerprint: str
    from_images: bool
    embed_dim: int
    backbone_dim: int
    scale: float
    selected_params: dict[str, float]
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with `prefix`, without it."""
        return {
            name.removeprefix(prefix): value
            for name, value in self.tensors.items()
            if name.startswith(prefix)
        }


# one line per field of model.json
EXPECTED: dict[str, Expectation] = {
    "trainer": NAME,
    "config": mapping_of(SETTING),
    "classnames": list_of(TEXT),
    "templates": list_of(TEXT),
    "backbone": NAME,
    "backbone_fingerprint": LINE,
    "from_images": TRUE_OR_FALSE,
    "embed_dim": whole_number(1),
    "backbone_dim": whole_number(1),
    "scale": NUMBER,
    "selected_params": mapping_of(NUMBER),
    "tensors_sha256": LINE,
}


def write_model(folder: Path, model: SavedModel) -> None:
    """Write the files of a model; the one that names the other comes last."""
    from safetensors.torch import save_file

    path = folder / TENSORS_FILE
    with atomic_path(path) as temporary:
        save_file({name: t.contiguous() for name, t in model.tensors.items()}, temporary)
    plain = {f.name: getattr(model, f.name) for f in fields(model) if f.name != "tensors"}
    content = {"format": FORMAT, **plain, "tensors_sha256": sha256_of_file(path)}
    write_json(folder / MODEL_FILE, content)


def read_model(folder: Path) -> SavedModel:
    """Read the model of a finished run and check every value.

    Args:
        folder: of the run, or one that holds the folder of a single seed.

    Raises:
        UserError: there is no model, it was written by a later version, or its files are damaged.
    """
    folder = find_model(folder)
    path = folder / MODEL_FILE
    raw = read_json(path)
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise UserError(f"{path}: not a model of format {FORMAT}; use the version that wrote it.")
    for name, expectation in EXPECTED.items():
        if name not in raw or not expectation.holds(raw[name]):
            raise UserError(
                f"{path}: damaged ({name} is not {expectation.words}); run the seed again."
            )
    tensors = _read_tensors(folder / TENSORS_FILE, raw["tensors_sha256"])
    _check_texts(path, tensors, (len(raw["classnames"]), raw["embed_dim"]))
    names = [f.name for f in fields(SavedModel) if f.name != "tensors"]
    return SavedModel(**{name: raw[name] for name in names}, tensors=tensors)


def find_model(folder: Path) -> Path:
    """Return the folder of a finished run: `folder` itself, or that of the only seed in it.

    Raises:
        UserError: there is none, or there are several.
    """
    found = find_run(folder)
    if not (found / MODEL_FILE).is_file():
        raise UserError(
            f"{found}: has a result but no {MODEL_FILE}: an evaluation, or a run of an earlier "
            "version, which is to be trained again in another folder."
        )
    return found


def find_run(folder: Path) -> Path:
    """Return the folder of a result: `folder` itself, or that of the only seed in it.

    Raises:
        UserError: there is none, or there are several.
    """
    if (folder / RESULT_FILE).is_file():
        return folder
    seeds = sorted(path.parent for path in folder.glob(f"seed*/{RESULT_FILE}"))
    if len(seeds) == 1:
        return seeds[0]
    if seeds:
        names = ", ".join(seed.name for seed in seeds)
        raise UserError(f"{folder}: holds several runs ({names}); name one, such as {seeds[0]}.")
    raise UserError(f"{folder}: not the folder of a finished run (no {RESULT_FILE}).")


def model_of_run(trainer: FrozenCLIPTrainer) -> SavedModel:
    """Return the model of a trainer as it is now."""
    provider = trainer.provider
    head = {} if trainer.head is None else trainer.head.state_dict()
    tensors = {
        TEXT_FEATURES: trainer.text_features,
        **{HEAD + name: value for name, value in head.items()},
        **{FITTED + name: value for name, value in trainer.fitted.items()},
    }
    return SavedModel(
        trainer=trainer.cfg.TRAINER.NAME,
        config=_config_of(trainer),
        classnames=list(trainer.classnames),
        templates=list(trainer.templates),
        backbone=provider.backbone_name,
        backbone_fingerprint=provider.fingerprint,
        from_images=trainer.facts.feature_bank is None,
        embed_dim=provider.embed_dim,
        backbone_dim=provider.backbone_dim,
        scale=provider.scale,
        selected_params=dict(trainer.selected_params),
        tensors={name: value.detach().cpu() for name, value in tensors.items()},
    )


def _config_of(trainer: FrozenCLIPTrainer) -> dict[str, Any]:
    from vtclip.config import flatten

    values = flatten(trainer.cfg)
    keys = ("DATASET.NAME", "MODEL.BACKBONE.NAME", "MODEL.BACKBONE.ACTIVATION", *TRANSFORM_KEYS)
    node = f"TRAINER.{trainer.option_node()}."
    return {
        **{key: values[key] for key in keys},
        "FEATURES.PRECISION": trainer.provider.precision,
        **{node + name: value for name, value in trainer.resolved_options().items()},
    }


def _read_tensors(path: Path, digest: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        require_file(path)
        if sha256_of_file(path) != digest:
            raise UserError(f"{path}: not the file that {MODEL_FILE} was written with; copy both.")
        tensors: Mapping[str, Tensor] = load_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except SafetensorError as error:
        raise UserError(f"{path}: damaged ({error}); run the seed again.") from error
    for name, value in tensors.items():
        # types of 8 bits have no test of their own
        if value.is_floating_point() and not value.float().isfinite().all():
            problem = f"{shortened(name)} is not finite"
            raise UserError(f"{path}: damaged ({problem}); run the seed again.")
    return dict(tensors)


def _check_texts(path: Path, tensors: Mapping[str, Tensor], shape: tuple[int, int]) -> None:
    texts = tensors.get(TEXT_FEATURES)
    if texts is None or tuple(texts.shape) != shape or str(texts.dtype) != "torch.float32":
        problem = f"text features are not of shape {shape} in float32"
        raise UserError(f"{path}: damaged ({problem}); run the seed again.")
