"""`make check-gpu`: every step small on the CPU, its judgements by hand, what it would catch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.check_gpu import __main__ as command
from benchmarks.check_gpu import contest, epoch, equality, resume
from benchmarks.check_gpu.cases import CASES, Case, Found, Inputs, draw, zero_shot_case
from benchmarks.check_gpu.encoding import ENCODERS, random_backbone
from benchmarks.check_gpu.equality import check_equality, compared
from benchmarks.check_gpu.lines import Line, all_passed, limited, measured
from benchmarks.check_gpu.methods import check_methods
from benchmarks.check_gpu.page import page_of
from benchmarks.check_gpu.sizes import SMALL
from vtclip.errors import run_command
from vtclip.files import read_json

CPU = torch.device("cpu")
SHAPE = (20, 4, 9, 64)
BY_NAME = {case.name: case for case in CASES}
WITHOUT_VALUES = [case for case in CASES if not case.needs_values]


def _moved_to_meta(module: nn.Module) -> nn.Module:
    """`module.to` of modules of fake tensors, which PyTorch refuses."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(parameter.detach().to("meta"))
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = buffer.to("meta")
    return module


def run_without_numbers(case: Case) -> Found:
    """Run where a tensor on another device in a sum or a product is an error."""
    with FakeTensorMode():
        return case.run(draw(*SHAPE, "meta")._replace(move=_moved_to_meta))


@pytest.mark.parametrize("case", WITHOUT_VALUES, ids=lambda case: case.name)
def test_all_stays_on_the_device(case: Case) -> None:
    for found in (case.run(draw(*SHAPE, "meta")), run_without_numbers(case)):
        tensors = [*found.outputs, *found.gradients]
        assert tensors
        assert {tensor.device.type for tensor in tensors} == {"meta"}


@pytest.mark.parametrize(
    "hidden",
    [lambda x: x.text + torch.ones(64), lambda x: x.text @ torch.ones(64, 2)],
    ids=["sum", "product"],
)
def test_a_tensor_of_another_device_shows(hidden) -> None:
    case = Case("hidden", lambda x: Found([hidden(x)], []))
    with pytest.raises(RuntimeError, match="device"):
        run_without_numbers(case)


def test_a_copy_to_the_cpu_shows() -> None:
    case = Case("hidden", lambda x: Found([x.text.cpu()], []))
    with pytest.raises(NotImplementedError, match="meta"):
        case.run(draw(*SHAPE, "meta"))


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Every step on the CPU: its exit code, and the folder of the result."""
    folder = tmp_path_factory.mktemp("check")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        code = command.main(["--device", "cpu", "--small", "--output", str(folder)])
    yield code, folder


def lines_of(folder: Path) -> list[Line]:
    return [Line(**line) for line in read_json(folder / "check_gpu.json")["lines"]]


def test_every_step_runs_small_on_the_cpu(small_run: tuple[int, Path]) -> None:
    code, folder = small_run
    lines = lines_of(folder)
    failed = [line for line in lines if line.state == "failed"]
    assert (code, failed) == (0, [])
    assert {line.check for line in lines} == {
        *("equality", "resume", "methods", "encoding", "epoch", "attention", "cuda")
    }
    assert [line.what for line in lines if line.state == "not run"] == [*command.ONLY_ON_CUDA]
    by_name = {line.what: line for line in lines}
    # on a CPU to the last bit
    assert by_name["resumed and unbroken: distance of weights"].value == 0.0
    # of the paper's prompts on the tiny backbone; every run of it has this figure
    assert by_name["ZeroshotCLIP"].value == pytest.approx(69.40, abs=0.005)
    apart = by_name["logits and those of torch's layer, fp32"].value
    assert apart is not None and 0 < apart < 1e-6
    # our order of products is not that of flash attention at this size
    apart = by_name["cross-attention alone, both, bf16"].value
    assert apart is not None and 0 < apart < 0.02
    for case in CASES:
        assert 0 <= (by_name[f"{case.name}: outputs, fp32"].value or 0) < 1e-5
    for name in ("RN50 at 64 pixels, fp32", "ViT-B/16 at 64 pixels, fp32"):
        assert (by_name[name].value or 0) > 1
    texts = (folder / "check_gpu.md").read_text()
    assert texts.startswith("# Check of cpu\n\nPassed: ")
    for line in lines:
        assert line.what in texts and line.figure in texts


@pytest.mark.parametrize(("stopped_at", "state"), [(2, "passed"), (99, "not run")])
def test_a_run_that_ended_before_it_was_stopped_is_tried_again(
    stopped_at: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def start(folder: Path, *_: object) -> Path:
        started.append(folder.name)
        return folder

    result = SimpleNamespace(accuracy=50.0, total=100)
    monkeypatch.setattr(resume, "start", start)
    monkeypatch.setattr(resume, "finish", lambda _: None)
    monkeypatch.setattr(resume, "stop", lambda run, *_: run.name == f"resumed-{stopped_at}")
    monkeypatch.setattr(resume, "distance", lambda *_: 0.0)
    monkeypatch.setattr(resume, "read_result", lambda _: result)
    assert {line.state for line in resume.check_resume(CPU, SMALL, tmp_path)} == {state}
    last = min(stopped_at, resume.TRIES - 1)
    tried = [f"resumed-{number}" for number in range(last + 1)]
    # the one that was stopped goes on
    assert started == ["unbroken", *tried, *tried[stopped_at:]]


def test_a_scaled_epoch_is_its_steps_times_their_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(work, device, repetitions: int, warm_up: int) -> float:
        for _ in range(repetitions + warm_up):
            work()
        return 0.5

    monkeypatch.setattr(epoch, "median_seconds", counted)
    found = {line.what: line for line in epoch.check_epoch(CPU, SMALL)}
    # 160 and 320 images in batches of 8
    for name, images, steps in (("epoch", 160, 20), ("evaluation", 320, 40)):
        for precision in ("fp32", "bf16"):
            what = f"K 100, D 128, S 4, {precision}: {name} of {images} images"
            assert found[f"{what}, 2 of {steps} steps, scaled"].value == 0.5 * steps


def test_torch_has_our_weights() -> None:
    """A weight that is moved on one side alone moves the logits apart."""
    from vtclip.layers import VisualGuidedAttention

    ours = VisualGuidedAttention(64, zero_init=False)
    theirs = contest.TorchLayer(ours)
    x = draw(*SHAPE, CPU)
    torch.testing.assert_close(
        theirs(x.text, x.images, x.spatial), ours.logits(x.text, x.images, x.spatial, 100.0)
    )
    with torch.no_grad():
        ours.layers[0].cross_attention.v_proj.weight[0, 0] += 1
    assert not torch.allclose(
        theirs(x.text, x.images, x.spatial), ours.logits(x.text, x.images, x.spatial, 100.0)
    )


def test_the_error_of_a_device_is_held_against_that_of_the_cpu() -> None:
    unit = 2.0**-24
    assert compared("", (3e-5, 1e-5), unit).state == "passed"
    assert compared("", (5e-5, 1e-5), unit).state == "failed"
    # the CPU is nearly exact: sixteen roundings pass
    assert compared("", (15 * unit, 0.0), unit).state == "passed"
    assert compared("", (17 * unit, 0.0), unit).state == "failed"


def _rounded_to(bits: int, tensor: Tensor) -> Tensor:
    mantissa, exponent = torch.frexp(tensor)
    return torch.ldexp((mantissa * 2**bits).round() / 2**bits, exponent)


@pytest.mark.parametrize(("bits", "state"), [(24, "passed"), (11, "failed")])
def test_products_in_tf32_would_fail(
    bits: int, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TF32 keeps 11 bits of each factor."""

    def on_a_device(x: Inputs) -> Found:
        if x.text.dtype == torch.float64:
            return zero_shot_case(x)
        nonlocal calls
        calls += 1
        # the second is that of the device
        factors = (x.text, x.images)
        text, images = (_rounded_to(bits, f) if calls == 2 else f for f in factors)
        return zero_shot_case(x._replace(text=text, images=images))

    calls = 0
    monkeypatch.setattr(equality, "CASES", [Case("products", on_a_device)])
    assert [line.state for line in check_equality(CPU, SMALL)] == [state]


def test_gradients_are_compared_as_one_vector() -> None:
    exact = [torch.tensor([3.0, 0.0]).double(), torch.tensor([4.0]).double()]
    found = [torch.tensor([3.0, 0.5]), torch.tensor([4.0])]
    assert equality.error_of_gradients(found, exact) == pytest.approx(0.1)
    assert equality.error_of_outputs(found, exact) == pytest.approx(0.5 / 3)


def test_no_number_fails() -> None:
    line = limited("memory", "peak", float("nan"), 1.0)
    assert line.state == "failed" and not all_passed([line])
    assert all_passed([measured("memory", "peak", 1.0, "MiB")])


def test_a_check_that_ends_in_an_error_fails_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(device: torch.device, sizes: object) -> Iterator[Line]:
        yield measured("epoch", "first", 1.0, "s")
        raise RuntimeError("CUDA error:\nan illegal memory access")

    for name in ("equality", "resume", "methods", "encoding", "contest"):
        name = f"check_{name}"
        monkeypatch.setattr(command, name, lambda *_: iter(()))
    monkeypatch.setattr(command, "check_epoch", broken)
    arguments = ["--device", "cpu", "--small", "--output", str(tmp_path)]
    assert command.main(arguments) == 1
    content = read_json(tmp_path / "check_gpu.json")
    assert content["passed"] is False
    assert [line["figure"] for line in content["lines"][:2]] == [
        "1 s",
        "CUDA error: an illegal memory access",
    ]
    assert "**Failed**: 1 failed, 1 measured, 4 not run." in (tmp_path / "check_gpu.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_is_one_line_and_nothing_is_written(tmp_path: Path, capsys) -> None:
    assert run_command(lambda: command.main(["--output", str(tmp_path / "out")])) == 2
    output, errors = capsys.readouterr()
    assert output == "" and len(errors.splitlines()) == 1 and "--device cpu --small" in errors
    assert not (tmp_path / "out").exists()


def test_a_method_that_fails_is_a_line_and_the_next_runs(tmp_path: Path) -> None:
    sizes = replace(SMALL, methods=("NoSuchMethod",))
    (line,) = check_methods(CPU, sizes, tmp_path)
    assert line.state == "failed"
    assert line.figure.startswith("train.py ended with 2: error: --trainer: unknown name")


def test_the_last_epoch_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert resume.epoch_of(log) == 0
    log.write_text("epoch [9/60] batch\nepoch [10/60] batch\n")
    assert resume.epoch_of(log) == 10


def test_a_page_has_a_row_per_line() -> None:
    lines = [limited("resume", "weights", 0.5, 0.25, "of length")]
    page = page_of(lines, {"torch": "2"}, "cuda", SMALL)
    assert "| weights | failed | 0.5 of length | at most 0.25 of length |" in page


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_stays_on_its_device(name: str) -> None:
    backbone, side = random_backbone(name, SMALL)
    backbone = backbone.to("meta")
    for tokens in backbone.token_kinds:
        features = backbone.encode_image(torch.empty(2, 3, side, side, device="meta"), tokens)
        assert features.spatial_features is not None
        assert features.spatial_features.device.type == "meta"
    assert backbone.encode_text(["a cat", "a dog in a garden"]).device.type == "meta"
