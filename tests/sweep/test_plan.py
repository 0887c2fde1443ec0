"""Which runs a sweep plans: names, folders, slices, YAML files, and refusals in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

import train
from vtclip.errors import UserError
from vtclip.plugins import import_modules
from vtclip.sweep.options import ELEVEN, SweepOptions, number_list, read_sweep_file
from vtclip.sweep.plan import PlannedRun, plan_sweep, slice_of

from ..conftest import ROOT

CONFIGS = ROOT / "configs"
SMALL = SweepOptions(
    methods=("ZeroshotCLIP", "TipAdapter"),
    datasets=("digits",),
    shots=(1, 2),
    seeds=(1, 2),
    backbone="tiny",
)


@pytest.fixture(autouse=True)
def registered() -> None:
    import_modules(["trainers", "datasets"])


def runs_of(options: SweepOptions) -> tuple[PlannedRun, ...]:
    return plan_sweep(options, CONFIGS).runs


def test_each_run_goes_where_train_py_puts_it(capsys: pytest.CaptureFixture[str]) -> None:
    for run in runs_of(SMALL):
        arguments = train.parse_args(list(run.arguments))
        cfg, _ = train.plan_of(arguments).run(arguments.seed, several=False)
        assert Path(cfg.OUTPUT_DIR) == run.folder
        assert (cfg.SEED, cfg.DATASET.NUM_SHOTS, run.method) == (
            run.seed,
            run.shots,
            cfg.TRAINER.NAME,
        )


def test_a_method_without_shots_runs_once_per_seed() -> None:
    shown = [(run.method, run.shots, run.seed) for run in runs_of(SMALL)]
    assert sorted(shown) == [
        ("TipAdapter", 1, 1),
        ("TipAdapter", 1, 2),
        ("TipAdapter", 2, 1),
        ("TipAdapter", 2, 2),
        ("ZeroshotCLIP", 2, 1),
        ("ZeroshotCLIP", 2, 2),
    ]


def test_settings_change_folder_and_digest() -> None:
    changed = runs_of(SweepOptions(("VTCLIP",), ("digits",), settings={"OPTIM.LR": "0.5"}))
    plain = runs_of(SweepOptions(("VTCLIP",), ("digits",)))
    assert {run.folder.parent.name.partition("_OPTIM")[2] for run in changed} == {".LR=0.5"}
    assert not {run.digest for run in changed} & {run.digest for run in plain}
    # the epochs of the protocol depend on the shots, so 1 shot stands apart from 4 and 16
    assert len({run.digest for run in plain}) == 3


def test_all_are_the_eleven_of_the_benchmark() -> None:
    runs = runs_of(SweepOptions(("ZeroshotCLIP",), ("all",), (1,), (1,), "rn50"))
    assert [run.dataset for run in runs] == list(ELEVEN)
    assert len(runs) == 11


def test_a_file_of_a_method_is_a_recipe_of_its_own() -> None:
    tuned = str(CONFIGS / "trainers" / "CLIPAdapter" / "tuned.yaml")
    (run,) = runs_of(SweepOptions((tuned,), ("digits",), (1,), (1,), "tiny"))
    assert run.method == "CLIPAdapter (tuned)"
    assert "--config-file" in run.arguments


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_slices_are_all_runs_each_once(count: int) -> None:
    runs = runs_of(SMALL)
    slices = [slice_of(runs, f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted(run.folder for part in slices for run in part) == sorted(r.folder for r in runs)
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "", "-1/2"])
def test_a_wrong_slice_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--only"):
        slice_of((), text)


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,", "1-99999", "1.5", "1--2"])
def test_a_wrong_list_of_numbers_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--seeds"):
        number_list(text, "--seeds")


def test_a_yaml_file_asks_for_the_same(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(
        "METHODS: [ZeroshotCLIP, TipAdapter]\nDATASETS: digits\nSHOTS: [1, 2]\nSEEDS: 1-2\n"
        "BACKBONE: tiny\nSET:\n  OPTIM:\n    LR: 0.5\n  FEATURES.VIEWS: 2\n"
    )
    options = read_sweep_file(file)
    assert options.methods == SMALL.methods
    assert (options.shots, options.seeds) == (SMALL.shots, SMALL.seeds)
    assert options.settings == {"OPTIM.LR": "0.5", "FEATURES.VIEWS": "2"}
    assert len(runs_of(options)) == 6


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("METHOD: VTCLIP\n", "did you mean METHODS"),
        ("METHODS: {A: 1}\n", "METHODS"),
        ("SHOTS: [1, true]\n", "neither"),
        ("SEEDS: one\n", "neither FIRST-LAST"),
        ("- VTCLIP\n", "not a configuration"),
        ("METHODS: !!python/object:os.system x\n", "not YAML"),
    ],
)
def test_a_wrong_file_is_one_line(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=reason):
        read_sweep_file(file)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (SweepOptions(), "--methods"),
        (SweepOptions(("VTCLIP",)), "--datasets"),
        (SweepOptions(("VTKLIP",), ("digits",)), "did you mean VTCLIP"),
        (SweepOptions(("VTCLIP",), ("digit",)), "did you mean digits"),
        (SweepOptions(("VTCLIP",), ("digits",), settings={"OPTIM.RATE": "1"}), "OPTIM.RATE"),
        (SweepOptions(("VTCLIP",), ("digits",), settings={"SEED": "1"}), "sets OUTPUT_DIR"),
        (SweepOptions(("VTCLIP",), ("digits",), settings={"OUTPUT_DIR": "x"}), "sets OUTPUT_DIR"),
        (SweepOptions(("VTCLIP",), ("digits",), backbone="rn51"), "did you mean"),
        (SweepOptions(("VTCLIP",), ("absent.yaml",)), "no such configuration file"),
    ],
)
def test_wrong_names_are_one_line(options: SweepOptions, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        plan_sweep(options, CONFIGS)


def test_an_unknown_method_is_named_as_the_sweep_names_it() -> None:
    options = SweepOptions(methods=("GDDA",), datasets=("digits",))
    with pytest.raises(UserError, match=r"--methods: .*'GDDA'; did you mean GDA\?"):
        plan_sweep(options, CONFIGS)
