"""Hostile configuration files and KEY VALUE pairs: a run, or one line; no traceback, no hang.

100 examples per test, always the same ones; VTCLIP_FUZZ=5000 runs that many.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from dassl.config import get_cfg_default
from yacs.config import CfgNode

import train
from tests.conftest import ROOT
from tests.fuzz.common import EDITS, FUZZ, edited, fuzz, settles, within
from tests.trainers.bank import write_bank
from vtclip.config import Domain, check_cfg, extend_cfg, flatten, merge_file
from vtclip.config.check import domains
from vtclip.method import registered_methods
from vtclip.plugins import import_modules

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import example, given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import_modules(["trainers", "datasets"])
DOMAINS = domains()
# a plan is made in milliseconds; a run of one epoch on a few features takes a second
SECONDS_OF_A_PLAN = 20
SECONDS_OF_A_RUN = 60


def default() -> CfgNode:
    cfg = get_cfg_default()
    extend_cfg(cfg)
    return cfg


DEFAULTS = flatten(default())
KEYS = sorted(DEFAULTS.keys() | DOMAINS.keys())
HOSTILE = [
    *("None", "nan", "inf", "-inf", "-1", "0", "1", "2", "0.5", "1e400", "1e-400", "-0.0", "1j"),
    *("9" * 400, "9" * 5000, "-" + "9" * 400, "0x" + "f" * 5000, "[0x" + "f" * 5000 + "]"),
    *("[]", "()", "(1,)", "[[1]]", "[1e400]", "{}", "{'a': 1}", "[None]", "['']", "(1, 'a')"),
    *("True", "False", "b'x'", "...", "1_0", "01", "\uff11", "__import__('os')", "lambda: 0"),
    *("", " ", "'", '"', "''", '"\'"', "\n", "\t", "\0", "\u00e9", "\u202e", "\ud800", "\udcff"),
    *("-" * 9000 + "1", "[" * 9000, "(" * 150 + ")" * 150, "a" * 300, "a/" * 3000, "a" * 20_000),
    *("~", "~nobody-of-that-name/x", "nowhere", "../nowhere", "/dev/null", "/dev/null/x"),
    *("{}.", "{0} {}", "{0.__class__}", "{:>9999999999}", "{!r}", "{", "}", "{a}", "{{}}", "%s {}"),
]


def values_of(key: str) -> st.SearchStrategy[str]:
    """Return hostile values, those about the bounds of the key, and its names."""
    domain = DOMAINS.get(key, Domain())
    bounds = [b for b in (domain.low, domain.high, domain.above) if abs(b) < float("inf")]
    near = [str(b + step) for b in map(int, bounds) for step in (-1, 0, 1)]
    width = len(DEFAULTS[key]) if isinstance(DEFAULTS[key], list | tuple) else 0
    lists = [str((number,) * width) for number in (0, 1, 2, 0.5)] if width else []
    return (
        st.sampled_from(HOSTILE + near + lists + list(domain.choices))
        | st.integers().map(str)
        | st.floats().map(str)
        | st.text(st.characters(), max_size=8)
    )


PAIRS = st.lists(
    st.sampled_from(KEYS).flatmap(lambda key: st.tuples(st.just(key), values_of(key))),
    min_size=1,
    max_size=3,
)


def usable(cfg: CfgNode) -> None:
    """Check that each value has its type, is within its range, and can be written down."""
    values = flatten(cfg)
    # methods that other tests register have keys of their own
    for key in DEFAULTS:
        value = values[key]
        assert type(value) is type(DEFAULTS[key])
        assert DOMAINS.get(key, Domain()).problem(value) == ""
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def plan_or_refuse(flags: Sequence[str], options: Sequence[str]) -> None:
    args = train.parse_args(list(flags))
    args.opts = list(options)
    with within(SECONDS_OF_A_PLAN):
        planned = settles(lambda: train.plan_of(args).run(1, several=False))
    if planned is not None:
        usable(planned[0])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, which is the user's home too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VTCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.parametrize("key", KEYS)
def test_each_key_with_each_hostile_value(here: Path, key: str) -> None:
    for value in HOSTILE:
        plan_or_refuse([], [key, value])


@FUZZ
@given(
    pairs=PAIRS,
    trainer=st.sampled_from(sorted(registered_methods())),
    eval_only=st.booleans(),
)
def test_key_value_pairs(here: Path, pairs: Any, trainer: str, eval_only: bool) -> None:
    flags = ["--trainer", trainer, *(["--eval-only"] if eval_only else [])]
    plan_or_refuse(flags, [part for pair in pairs for part in pair])


@FUZZ
@given(options=st.lists(st.text(max_size=12) | st.sampled_from(KEYS + HOSTILE), max_size=4))
def test_words_that_are_no_pairs(here: Path, options: list[str]) -> None:
    plan_or_refuse([], options)


@FUZZ
@given(
    flag=st.sampled_from(
        ["root", "output_dir", "resume", "config_file", "dataset_config_file", "trainer",
         "backbone", "head", "model_dir"]
    ),
    value=st.sampled_from(HOSTILE) | st.text(st.characters(), max_size=8),
    name=st.sampled_from(["Digits", "ImageFolder", "FeatureBank"]),
    eval_only=st.booleans(),
)  # fmt: skip
def test_arguments(here: Path, flag: str, value: str, name: str, eval_only: bool) -> None:
    args = train.parse_args(["--eval-only"] if eval_only else [])
    setattr(args, flag, value)
    args.opts = ["DATASET.NAME", name]
    with within(SECONDS_OF_A_PLAN):
        settles(lambda: train.plan_of(args).run(1, several=False))


GOOD = b"""\
# a configuration
OPTIM:
  LR: 1e-3
  STEPSIZE: [10, 20]
INPUT: {SIZE: [64, 64], TRANSFORMS: ["normalize"]}
DATASET.TEMPLATE: "a photo of a {}."
TRAINER:
  VTCLIP: {FFN: false}
"""
FRAGMENTS = [
    *("", "~", "null", "yes", "0", "-1", ".nan", ".inf", "-.inf", "1e400", "1e-3", "9" * 400),
    *("9" * 5000, "0x" + "f" * 5000, "0b" + "1" * 20_000, "-0x" + "f" * 300, "1:59:59"),
    *("1" + ":59" * 400, "1" + ":59" * 400 + ".5", "0x_", "0b_", "0_", "+", "1_0", "0o17", "="),
    *("2024-01-01", "2024-13-45", "0001-01-01T00:00:00+23:59", "2024-01-01 00:00:00 -99:99"),
    *("!!int ''", "!!int x", "!!float ''", "!!float x", "!!bool x", "!!timestamp x", "!!null x"),
    *("!!binary x", "!!binary AAAA", "!!binary \u00e9", "!!set {a}", "!!omap [a: 1]", "!!omap 1"),
    *("!!pairs [a: 1]", "!!map 1", "!!seq 1", "!!str [1]", "!own 1", "!<tag:x> 1", "!!int [1]"),
    *("!!python/object:os.system {}", "!!python/object/apply:os.system [ls]", "!!python/name:os"),
    *("&a [*a]", "&a {b: *a}", "*a", "{<<: {a: 1}}", "{<<: [1]}", "{<<: 1}", "{<<: {<<: {}}}"),
    *("{a: 1, a: 2}", "{[1]: 2}", "{? {a: 1} : 2}", "{1: 2}", "{null: 1}"),
    "{0x" + "f" * 5000 + ": 1}",
    *("[" * 3000, "[" * 300 + "]" * 300, "{a: " * 300 + "}" * 300, "- " * 300, "[1, 2", "{a", "'"),
    *("[" + "1," * 5000 + "]", "|\n  text", ">\n\n", "\t", "\ta: 1", "%YAML 9.9", "---", "..."),
    *('"\\ud800"', '"\\0"', '"\\xff"', '"\\udcff"', '"\\U00110000"', '"\\q"', "'\u202e'", "\x85"),
    *("@", "`", "a" * 20_000),
    *("a: b: c", "[a, b: c]", "? a", ": a", "- a", "#", "&", "!", "\ufeff1", "\x01"),
]  # fmt: skip
LINES = st.tuples(
    st.sampled_from(
        [*KEYS, "OPTIM", "TRAINER", "BASE", "<<", "? a", "- a", "'", "9" * 5000, "a" * 3000]
    ),
    st.sampled_from(FRAGMENTS) | st.text(st.characters(), max_size=8),
    st.booleans(),
)  # fmt: skip


def line(key: str, fragment: str, nested: bool) -> str:
    """Return the lines of a value, below the keys that the dots in its name stand for or not."""
    parts = key.split(".") if nested else [key]
    lines = [f"{'  ' * depth}{part}:" for depth, part in enumerate(parts)]
    return "\n".join(lines) + f" {fragment}\n"


def read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    cfg = default()

    def merged() -> CfgNode:
        merge_file(cfg, path)
        check_cfg(cfg)
        return cfg

    with within(SECONDS_OF_A_PLAN):
        found = settles(merged)
    if found is not None:
        usable(found)
    plan_or_refuse(["--config-file", str(path)], [])
    plan_or_refuse(["--dataset-config-file", str(path)], ["DATASET.NAME", "Digits"])


@FUZZ
@given(edits=EDITS)
@example([(0.0, b"\xef\xbb\xbf", 0)])
@example([(0.0, b"\xff\xfe", 0)])
@example([(0.2, b"\t", 1)])
def test_damaged_files(here: Path, edits: Any) -> None:
    read_or_refuse(here / "own.yaml", edited(GOOD, edits))


@FUZZ
@given(lines=st.lists(LINES, min_size=1, max_size=3))
def test_files_of_hostile_values(here: Path, lines: list[tuple[str, str, bool]]) -> None:
    text = "".join(line(*parts) for parts in lines)
    read_or_refuse(here / "own.yaml", text.encode(errors="surrogatepass"))


@pytest.mark.parametrize("key", ["OPTIM.LR", "INPUT.SIZE", "SEED", "TRAINER.NAME", "BASE", "x"])
def test_each_hostile_fragment(here: Path, key: str) -> None:
    for fragment in FRAGMENTS:
        read_or_refuse(here / "own.yaml", line(key, fragment, nested=False).encode())


@FUZZ
@given(text=st.text(st.sampled_from("a1.:-,?#&*!|>'\"%@`[]{}<~ \n\t\0\u00e9"), max_size=40))
def test_files_of_anything(here: Path, text: str) -> None:
    read_or_refuse(here / "own.yaml", text.encode())


@pytest.mark.parametrize(
    "unit", ["1,", "a: 1\n", "[", "{a: ", "- ", "? a\n", "'", "a ", "&a 1\n", "x" * 99 + "\n"]
)
def test_a_megabyte_of_one_thing(here: Path, unit: str) -> None:
    for start, size in (("", 999_000), ("", 30_000), ("OPTIM.STEPSIZE: [", 30_000)):
        read_or_refuse(here / "own.yaml", (start + unit * (size // len(unit))).encode())


def test_files_that_name_each_other_twice(here: Path) -> None:
    for number in range(40):
        name = f"{number + 1}.yaml"
        (here / f"{number}.yaml").write_text(f"BASE: [{name}, {name}]\nSEED: {number}\n")
    read_or_refuse(here / "40.yaml", b"SEED: 40\n")
    cfg = default()
    with within(SECONDS_OF_A_PLAN):
        merge_file(cfg, here / "0.yaml")
    assert cfg.SEED == 0


# what makes a run large or long on purpose is no fault of it
DEAR = {
    "INPUT.SIZE": "(8, 8)", "INPUT.GB_K": "3", "INPUT.CROP_PADDING": "1", "INPUT.CUTOUT_LEN": "1",
    "OPTIM.MAX_EPOCH": "1", "FEATURES.VIEWS": "1", "FEATURES.COMPILE": "False",
    "DATASET.NUM_SHOTS": "1", "TRAINER.NAME": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bank(tmp_path_factory.mktemp("bank") / "bank.npz")


def nearly_right(key: str) -> st.SearchStrategy[str]:
    """Return values of the key's type, wild ones among them, which a check of types lets pass."""
    example = DEFAULTS[key]
    if isinstance(example, bool):
        return st.booleans().map(str)
    if isinstance(example, int):
        return st.sampled_from([0, 1, 2, 3, 5, 7, 30, 999, 10**6, 2**31, 2**40, -1]).map(str)
    if isinstance(example, float):
        numbers = [0.0, 1e-300, 1e-30, 1e-9, 0.3, 0.5, 0.99, 1.0, 7.0, 1e6, 1e30, 1e300, -1.0]
        return st.sampled_from(numbers).map(str)
    return values_of(key)


def pairs_of(trainer: str) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Return pairs that matter to a method: its own keys as often as all others together."""
    node = f"TRAINER.{registered_methods()[trainer].option_node()}."
    own = [key for key in KEYS if key.startswith(node)]
    rest = [key for key in KEYS if key not in DEAR and not key.startswith("TRAINER.")]
    keys = st.sampled_from(rest) | (st.sampled_from(own) if own else st.nothing())
    return st.lists(
        keys.flatmap(lambda key: st.tuples(st.just(key), nearly_right(key) | values_of(key))),
        min_size=1,
        max_size=2,
    )


RUNS = st.sampled_from(sorted(registered_methods())).flatmap(
    lambda trainer: st.tuples(st.just(trainer), pairs_of(trainer))
)


def run_or_refuse(run_train: Any, trainer: str, pairs: Any, *data: str) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        with within(SECONDS_OF_A_RUN):
            code = run_train(
                *("--trainer", trainer, "--output-dir", str(folder / "run"), *data),
                *("DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1", "FEATURES.VIEWS", "1"),
                *(part for pair in pairs for part in pair),
            )
        assert code in (0, 2)
        if code == 2:
            assert not (folder / "run" / "result.json").exists()
    finally:
        shutil.rmtree(folder)


@fuzz(0.3)
@given(run=RUNS)
def test_runs_on_a_bank(here: Path, run_train: Any, bank: Path, run: Any) -> None:
    file = ROOT / "configs" / "datasets" / "feature_bank.yaml"
    run_or_refuse(
        *(run_train, *run, "--dataset-config-file", str(file)),
        *("DATASET.FEATURE_BANK", str(bank), "DATALOADER.TRAIN_X.BATCH_SIZE", "2"),
    )


@fuzz(0.1)
@given(run=RUNS)
def test_runs_on_images(here: Path, run_train: Any, run: Any) -> None:
    run_or_refuse(run_train, *run, "DATALOADER.TRAIN_X.BATCH_SIZE", "2")
