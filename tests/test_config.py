"""Every configuration key: its type, its range, its choices, and files that are none."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from dassl.config import get_cfg_default
from yacs.config import CfgNode

import trainers
from vtclip.config import Domain, check_cfg, extend_cfg, flatten, merge_file, merge_values
from vtclip.config.check import domains
from vtclip.errors import UserError

assert trainers.__all__  # registers the methods, whose options are keys


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_cfg_default()
    extend_cfg(cfg)
    return cfg


KEYS = sorted(set(flatten(get_cfg_default())) | set(domains()))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", ["None", "nan", "inf", "-1e9", "[[1]]", "{}", "9" * 5000, "\0"])
def test_a_wrong_value_is_one_line_or_a_value(cfg: CfgNode, key: str, value: str) -> None:
    extend_cfg(cfg)
    example = flatten(cfg)[key]
    try:
        merge_values(cfg, {key: value})
        check_cfg(cfg)
    except UserError as error:
        assert key in str(error)
        assert len(str(error)) < 700
        return
    # text keys take any text; a number that stays is within its range
    domain = domains().get(key, Domain())
    assert isinstance(example, str) or domain.problem(flatten(cfg)[key]) == ""


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("TRAINER.COOP.CTX_INIT", "2024", "2024"),
        ("TRAINER.COOP.CTX_INIT", "None", "None"),
        ("DATASET.TEMPLATE", "1e3 {}", "1e3 {}"),
        ("OPTIM.LR", "1e-3", 0.001),
        ("OPTIM.LR", "1", 1.0),
        ("INPUT.PIXEL_STD", "[2e-1, 2e-1, 2e-1]", [0.2, 0.2, 0.2]),
        ("INPUT.SIZE", "(96, 96)", (96, 96)),
        ("INPUT.TRANSFORMS", "['normalize']", ("normalize",)),
        ("TRAINER.VTCLIP.FFN", "False", False),
    ],
)
def test_a_text_stands_for_the_type_of_its_key(cfg: CfgNode, key: str, text: str, value) -> None:
    merge_values(cfg, {key: text})
    found = flatten(cfg)[key]
    assert found == value
    assert type(found) is type(value)


def test_exponents_in_lists_of_a_file_are_numbers(cfg: CfgNode, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("INPUT: {PIXEL_STD: [2e-1, 2e-1, 2e-1]}\nOPTIM: {LR: 1e-3}\n")
    merge_file(cfg, tmp_path / "a.yaml")
    assert cfg.INPUT.PIXEL_STD == [0.2, 0.2, 0.2]
    assert cfg.OPTIM.LR == 0.001


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("OPTIM.NAME", "AdamW", "did you mean adamw?"),
        ("OPTIM.NAME", "None", "unknown name 'None'. Known: adam, "),
        ("OPTIM.WEIGHT_DECAY", "-0.1", "-0.1 is out of range"),
        ("OPTIM.LR", "nan", "nan is not a finite number"),
        ("OPTIM.LR", "0", "0.0 is out of range; it goes from above 0"),
        ("OPTIM.ADAM_BETA2", "1.5", "out of range"),
        ("OPTIM.STEPSIZE", "()", "OPTIM.STEPSIZE: is empty"),
        ("DATALOADER.NUM_WORKERS", "-2", "out of range"),
        ("TRAIN.PRINT_FREQ", "0", "out of range; it goes from 1"),
        ("SEED", str(2**40), "out of range"),
        ("INPUT.INTERPOLATION", "cubic", "did you mean bicubic?"),
        ("INPUT.TRANSFORMS", "('random_flop',)", "did you mean random_flip?"),
        ("INPUT.PIXEL_MEAN", "[0.5]", "does not have 3 numbers"),
        ("INPUT.RRCROP_SCALE", "(0.9, 0.1)", "is not (smallest, largest)"),
        ("DATASET.NUM_SHOTS", "-2", "out of range"),
        ("TEST.EVALUATOR", "classification", "did you mean Classification?"),
        ("DATALOADER.TRAIN_X.SAMPLER", "Random", "did you mean RandomSampler?"),
        ("TRAIN.COUNT_ITER", "train", "did you mean train_x?"),
        ("INPUT.GN_STD", "-0.1", "-0.1 is out of range"),
        ("MODEL.INIT_WEIGHTS", "model.pth.tar", "no method starts from it"),
        ("OPTIM.STAGED_LR", "True", "leave it False"),
    ],
)
def test_values_that_cannot_work(cfg: CfgNode, key: str, value: str, said: str) -> None:
    with pytest.raises(UserError, match=key.replace(".", r"\.")) as caught:
        merge_values(cfg, {key: value})
        check_cfg(cfg)
    assert said in str(caught.value)


def test_a_home_folder_is_expanded(cfg: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    merge_values(cfg, {"OUTPUT_DIR": "~/runs", "DATASET.ROOT": "~/data"})
    assert (cfg.OUTPUT_DIR, cfg.DATASET.ROOT) == ("/home/someone/runs", "/home/someone/data")


BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, r"aliases \(\*name\) are not read"),
        ("[" * 5000, "not YAML"),
        ("OPTIM: {LR: null}", "OPTIM.LR: None is of a wrong type"),
        ("OPTIM: 3", "OPTIM: no such configuration key"),
        ("OPTIM: {LR: 2020-01-01}", "OPTIM.LR"),
        ("1: 2", "1: no such configuration key"),
        ("- a", "not a configuration"),
        ("x" * 1_100_000, "too large"),
        ("OPTIM: {MAX_EPOCH: " + "9" * 5000 + "}", "x.yaml"),
        ("OPTIM: {MAX_EPOCH: 0x" + "f" * 5000 + "}", "more than 300 digits"),
        ("OPTIM: {LR: " + "9" * 400 + "}", "more than 300 digits"),
        ("OPTIM: {LR: 1" + ":59" * 400 + ".5}", "not YAML"),
        ("OPTIM: {LR: !!int ''}", r"tags \(!name\) are not read"),
        ("SEED: 1\nSEED: 2", "the key 'SEED' is there twice"),
        ("OPTIM.LR: 1\nOPTIM: {LR: 2}", "x.yaml: OPTIM.LR: is there twice"),
        ("DATASET: {TEMPLATE: 'a {} \\0'}".replace("'", '"'), "not text in UTF-8"),
        ("DATASET: {ROOT: ~nobody-of-that-name/x}", "DATASET.ROOT: .* cannot be a path"),
    ],
    ids=["aliases", "depth", "null", "no node", "date", "number", "list", "size", "digits",
         "hexadecimal", "float", "sexagesimal", "tag", "twice", "dotted", "NUL", "home"],
)  # fmt: skip
def test_files_that_are_no_configuration(
    cfg: CfgNode, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    started = time.monotonic()
    with pytest.raises(UserError, match=said):
        merge_file(cfg, tmp_path / "x.yaml")
        check_cfg(cfg)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("value", ["9" * 400, "0x" + "f" * 5000])
def test_numbers_too_long_for_a_float_or_a_text(cfg: CfgNode, value: str) -> None:
    with pytest.raises(UserError, match="wrong type"):
        merge_values(cfg, {"OPTIM.MAX_EPOCH": value})
    # a fork of CoOp merges through yacs
    cfg.OPTIM.MAX_EPOCH = int(value, 0)
    with pytest.raises(UserError, match="MAX_EPOCH: a whole number of more"):
        check_cfg(cfg)


def test_names_in_a_file_hold(tmp_path: Path, run_train, capsys) -> None:
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            picture = Image.new("RGB", (9, 9), (40 * (name == "a"), 9 * number, 0))
            picture.save(tmp_path / "photos" / name / f"{number}.png")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "DATASET: {NAME: ImageFolder, NUM_SHOTS: 2}\nTRAINER: {NAME: ZeroshotCLIP}\n"
        "MODEL: {BACKBONE: {NAME: tiny}}\n"
    )
    before = sorted((tmp_path / "photos").rglob("*"))
    run = tmp_path / "run"
    arguments = ("--config-file", str(file), "--root", str(tmp_path / "photos"))
    assert run_train(*arguments, "--output-dir", str(run)) == 0
    from vtclip.results import read_result

    result = read_result(run / "result.json")
    assert (result.trainer, result.dataset) == ("ZeroshotCLIP", "ImageFolder")
    assert sorted((tmp_path / "photos").rglob("*")) == before
    # photos without a dataset that names them are refused, not filled with digits
    assert run_train("--root", str(tmp_path / "photos")) == 2
    assert "no dataset is named" in capsys.readouterr().err
    assert sorted((tmp_path / "photos").rglob("*")) == before
    # a run's own configuration repeats the run
    again = ("--config-file", str(run / "config.yaml"), "--output-dir", str(tmp_path / "again"))
    assert run_train(*again) == 0
    repeated = read_result(tmp_path / "again" / "result.json")
    assert repeated.config_digest == result.config_digest
    assert repeated.correct == result.correct
