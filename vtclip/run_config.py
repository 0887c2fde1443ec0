"""From the arguments of train.py to the configuration of a run and the folder that it goes to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from vtclip.backbones import backbone_label, canonical_name, check_backbone
from vtclip.config import (
    check_cfg,
    extend_cfg,
    flatten,
    merge_values,
    read_file,
    read_options,
)
from vtclip.config.keys import PROJECT_KEYS
from vtclip.errors import UserError, shortened, unknown_name
from vtclip.files import user_path
from vtclip.method import MethodFacts, registered_methods
from vtclip.protocol import EVALUATION_KEYS, differing_keys, protocol_values, run_settings
from vtclip.run_folder import experiment_folder, own_data_label
from vtclip.run_summary import is_stand_in

# what nobody names: the embedded digits at 16 shots, on the small backbone
DEFAULT_METHOD, DEFAULT_DATASET, DEFAULT_BACKBONE = "VTCLIP", "digits", "tiny"
DEFAULT_SHOTS, DEFAULT_SEED = 16, 1
# datasets whose data is the user's, by DATASET.NAME, and the key that says where it is
OWN_DATA = {"ImageFolder": "DATASET.ROOT", "FeatureBank": "DATASET.FEATURE_BANK"}


OUTPUT = "./output"


@dataclass(frozen=True)
class RunArguments:
    """The arguments of a run; empty values are left to the configuration files and the defaults.

    Attributes:
        method_file, dataset_file: YAML files, merged in this order.
        trainer, backbone, dataset_root, head, resume, output_dir, model_dir: see train.py.
        eval_only: evaluate a trained run.
        shots: images per class.
        seeds: the seeds of the runs; empty: SEED of the options, or the default.
        transforms: names of training augmentations.
        options: KEY VALUE pairs, which override everything else.
    """

    method_file: str = ""
    dataset_file: str = ""
    trainer: str = ""
    backbone: str = ""
    dataset_root: str = ""
    head: str = ""
    resume: str = ""
    output_dir: str = ""
    model_dir: str = ""
    eval_only: bool = False
    shots: int | None = None
    seeds: Sequence[int] = ()
    transforms: Sequence[str] = ()
    options: Sequence[str] = ()


@dataclass(frozen=True)
class RunPlan:
    """An experiment before its seeds are run.

    Attributes:
        cfg: the configuration without seed and folder.
        folder: where the results of the seeds go.
        named: whether the user named `folder`; a single run then goes into it, not below it.
        model_dir: what an evaluation loads: the folder of a run, or of the seeds of an experiment.
        seed: the seed where the command line names none.
    """

    cfg: CfgNode
    folder: Path
    named: bool
    model_dir: Path
    seed: int

    def run(self, seed: int, *, several: bool) -> tuple[CfgNode, str]:
        """Return the configuration of one seed, frozen, and the folder that an evaluation loads.

        Raises:
            UserError: the seed is not one.
        """
        if not -1 <= seed < 2**32:
            raise UserError(f"--seed: {seed} is out of range; it goes from 0 to 4294967295.")
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.SEED = seed
        own = self.folder if self.named and not several else self.folder / f"seed{seed}"
        cfg.OUTPUT_DIR = str(own)
        cfg.freeze()
        trained = self.model_dir / f"seed{seed}"
        return cfg, str(trained if trained.is_dir() else self.model_dir)


def plan_run(arguments: RunArguments, configs: Path) -> RunPlan:
    """Work out the configuration of an experiment and where it goes.

    In the order of merging: defaults of Dassl and this project, the protocol of the method, the
    method's file, the dataset's file, arguments, KEY VALUE pairs.

    Args:
        arguments: those of the command line.
        configs: the folder of configurations that come with the project.

    Raises:
        UserError: a file, key, name or value is wrong.
    """
    options = read_options(arguments.options)
    _check_named_once("--trainer", arguments.trainer, "TRAINER.NAME", options)
    _check_named_once("--output-dir", arguments.output_dir, "OUTPUT_DIR", options)
    _check_named_once("--seed", ",".join(map(str, arguments.seeds)), "SEED", options)
    arguments = replace(
        arguments,
        method_file=_found(arguments.method_file, configs / "trainers"),
        dataset_file=_found(arguments.dataset_file, configs / "datasets"),
    )
    method_values = _read(arguments.method_file, "--config-file")
    of_dataset = _read(arguments.dataset_file, "--dataset-config-file")
    named = {**method_values, **of_dataset, **options}
    dataset_file = _dataset_file(arguments, named, configs)
    dataset_values = read_file(dataset_file) if dataset_file else {}
    method = _method(arguments.trainer or str(named.get("TRAINER.NAME") or DEFAULT_METHOD))

    shipped = dataset_file is not None and dataset_file.parent.resolve() == configs / "datasets"
    embedded = dataset_file is not None and not arguments.dataset_file
    dataset = str(named.get("DATASET.NAME") or dataset_values.get("DATASET.NAME", ""))
    protocol = _defaults(method, dataset, dataset_values if shipped else {}, embedded)
    cfg = protocol.clone()
    merge_values(cfg, method_values, f"{arguments.method_file}: ")
    # which augmentations keep the labels depends on the dataset: its file comes last
    merge_values(cfg, dataset_values, f"{dataset_file}: ")
    merge_values(cfg, _from_arguments(arguments))
    merge_values(cfg, options)
    cfg.TRAINER.NAME = method.__name__
    by_user = {**method_values, **options, **({} if shipped else dataset_values)}
    preprocessing = PROJECT_KEYS["INPUT.SET_BY_USER"].choices
    cfg.INPUT.SET_BY_USER = tuple(key for key in preprocessing if f"INPUT.{key}" in by_user)
    _resolve_names(cfg, quiet=bool(arguments.method_file))
    check_cfg(cfg)
    seed = cfg.SEED if "SEED" in by_user else DEFAULT_SEED
    recipe = _recipe(protocol, cfg, {**method_values, **(dataset_values if shipped else {})})
    return _place(arguments, cfg, recipe, dataset_file, seed)


def _check_named_once(flag: str, value: str, key: str, options: Mapping[str, str]) -> None:
    """Refuse an argument and a KEY VALUE pair of which the run could follow one only."""
    if value and options.get(key, value) != value:
        raise UserError(
            f"{key}: {shortened(repr(options[key]), 60)}, but {flag} names "
            f"{shortened(repr(value), 60)}; give one of the two."
        )


def _found(named: str, shipped: Path) -> str:
    """Return the file that a user named, or that of the project where the user has none.

    Those of the project are named as in a checkout (configs/datasets/dtd.yaml) or shorter (dtd).
    """
    known = {path.relative_to(shipped).as_posix(): path for path in shipped.glob("**/*.yaml")}
    name = named.removeprefix(f"configs/{shipped.name}/").removesuffix(".yaml") + ".yaml"
    return str(known[name]) if name in known and not Path(named).is_file() else named


def recipe_file(name: str, trainer: str, configs: Path) -> str:
    """Return the configuration file of a recipe that comes with a method.

    Args:
        name: of the recipe, which its file is named by.
        trainer: name of the method, "" for the default one.
        configs: the folder of configurations that come with the project.

    Raises:
        UserError: there is no such method, or it has none of that name.
    """
    folder = configs / "trainers" / _method(trainer or DEFAULT_METHOD).__name__
    files = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    recipes = [stem for stem, path in files.items() if read_file(path).get("TRAINER.RECIPE")]
    if name not in recipes:
        raise unknown_name("--recipe", name, recipes)
    return str(files[name])


def _read(path: str, name: str) -> dict[str, Any]:
    return read_file(user_path(path, name)) if path else {}


def _dataset_file(arguments: RunArguments, named: Mapping[str, Any], configs: Path) -> Path | None:
    """Return the file of the dataset; None where a key alone names it."""
    if arguments.dataset_file:
        return user_path(arguments.dataset_file, "--dataset-config-file")
    if named.get("DATASET.NAME"):
        return None
    root = user_path(arguments.dataset_root, "--root") if arguments.dataset_root else None
    if root and root.is_dir() and any(root.iterdir()) and not (root / DEFAULT_DATASET).is_dir():
        raise UserError(
            f"--root {root}: no dataset is named; for a folder of photos add "
            f"--dataset-config-file {configs / 'datasets' / 'image_folder.yaml'}."
        )
    return configs / "datasets" / f"{DEFAULT_DATASET}.yaml"


def _from_arguments(arguments: RunArguments) -> dict[str, Any]:
    given: dict[str, Any] = {
        "DATASET.ROOT": arguments.dataset_root,
        "DATASET.NUM_SHOTS": arguments.shots,
        "RESUME": arguments.resume,
        "INPUT.TRANSFORMS": tuple(arguments.transforms),
        "MODEL.BACKBONE.NAME": arguments.backbone,
        "MODEL.HEAD.NAME": arguments.head,
    }
    return {key: value for key, value in given.items() if value not in ("", None, ())}


def _method(name: str) -> type[MethodFacts]:
    methods = registered_methods()
    if name not in methods:
        raise unknown_name("--trainer", name, methods)
    return methods[name]


def _defaults(
    method: type[MethodFacts], dataset: str, dataset_values: Mapping[str, Any], embedded: bool
) -> CfgNode:
    """Return the configuration of a run of which a user has changed nothing."""
    from dassl.config import get_cfg_default

    cfg = get_cfg_default()
    extend_cfg(cfg)
    merge_values(cfg, {**protocol_values(method, dataset), **dataset_values})
    cfg.MODEL.BACKBONE.NAME = DEFAULT_BACKBONE
    cfg.TRAINER.NAME = method.__name__
    if embedded:
        cfg.DATASET.NUM_SHOTS = DEFAULT_SHOTS
    return cfg


def _recipe(protocol: CfgNode, cfg: CfgNode, values: Mapping[str, Any]) -> CfgNode:
    """Return what the name of a folder counts departures from.

    That is the protocol, or the method's file, where that names itself by TRAINER.RECIPE and the
    checked configuration of the run has kept the name.
    """
    if not values.get("TRAINER.RECIPE"):
        return protocol
    recipe = protocol.clone()
    merge_values(recipe, values)
    return recipe if recipe.TRAINER.RECIPE == cfg.TRAINER.RECIPE else protocol


def _resolve_names(cfg: CfgNode, quiet: bool) -> None:
    """Put names in their registered spelling, and a data root where nothing names one."""
    from dassl.data.datasets import DATASET_REGISTRY

    datasets = DATASET_REGISTRY.registered_names()
    if cfg.DATASET.NAME not in datasets:
        raise unknown_name("DATASET.NAME", cfg.DATASET.NAME, datasets)
    check_backbone(cfg.MODEL.BACKBONE.NAME)
    cfg.MODEL.BACKBONE.NAME = canonical_name(cfg.MODEL.BACKBONE.NAME)
    cfg.DATASET.ROOT = cfg.DATASET.ROOT or os.environ.get("DATA", "data")
    if is_stand_in(cfg.MODEL.BACKBONE.NAME, cfg.DATASET.NAME) and not quiet:
        print(
            "note: backbone tiny is a small model for demonstrations; for results that count, name "
            "one of CLIP's, such as --backbone RN50.",
            file=sys.stderr,
        )


def _place(
    arguments: RunArguments,
    cfg: CfgNode,
    recipe: CfgNode,
    dataset_file: Path | None,
    seed: int,
) -> RunPlan:
    """Return the plan, with the folders that the user named or the default ones."""
    from dassl.data.datasets import DATASET_REGISTRY

    # the datasets of this project have keys, which their files are named by
    key = vars(DATASET_REGISTRY.get(cfg.DATASET.NAME)).get("key", cfg.DATASET.NAME.lower())
    dataset = dataset_file.stem if dataset_file else str(key)
    if cfg.DATASET.NAME in OWN_DATA:
        where = flatten(cfg)[OWN_DATA[cfg.DATASET.NAME]]
        dataset = own_data_label(dataset, Path(where))
    of_features = cfg.DATASET.NAME == "FeatureBank"
    backbone = "features" if of_features else backbone_label(cfg.MODEL.BACKBONE.NAME)
    mine = run_settings(cfg)
    changed = differing_keys(mine, run_settings(recipe))

    def experiment(keys: Iterable[str]) -> Path:
        departures = {key: mine.get(key) for key in keys}
        shots = cfg.DATASET.NUM_SHOTS
        name = recipe.TRAINER.RECIPE
        return experiment_folder(dataset, cfg.TRAINER.NAME, backbone, shots, departures, name)

    trained = Path(OUTPUT) / experiment(key for key in changed if key not in EVALUATION_KEYS)
    named = arguments.output_dir or arguments.resume or cfg.OUTPUT_DIR.replace(OUTPUT, "")
    default = Path(OUTPUT, "evaluation" if arguments.eval_only else "") / experiment(changed)
    folder = user_path(named, "--output-dir") if named else default
    model_dir = user_path(arguments.model_dir, "--model-dir") if arguments.model_dir else trained
    if cfg.RESUME and not user_path(cfg.RESUME, "--resume").is_dir():
        raise UserError(f"--resume {cfg.RESUME}: no such folder, so there is nothing to resume.")
    if arguments.eval_only and not arguments.model_dir and not trained.is_dir():
        raise UserError(f"{trained}: nothing is trained there yet; --model-dir names a run.")
    return RunPlan(cfg, folder, bool(named), model_dir, seed)
