"""Which devices are asked to multiply in bf16, and what autocast is put in their way."""

from __future__ import annotations

import pytest
import torch

from vtclip.precision import autocast, autocast_dtype, bf16_is_fast


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False)],
)
def test_bf16_instructions_are_looked_up(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert bf16_is_fast("cpu") is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: expected, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert bf16_is_fast("cpu") is expected


def test_the_gpu_itself_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    capability = {torch.device("cuda", 0): (7, 5), torch.device("cuda", 1): (8, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", capability.__getitem__)
    assert not bf16_is_fast(torch.device("cuda", 0))
    assert bf16_is_fast(torch.device("cuda", 1))


def test_autocast_is_set_and_shut_out() -> None:
    cpu = torch.device("cpu")
    assert autocast_dtype(cpu) is None
    with autocast(cpu, torch.bfloat16):
        assert autocast_dtype(cpu) == torch.bfloat16
        with autocast(cpu, None):
            assert autocast_dtype(cpu) is None
    with autocast(torch.device("meta"), torch.bfloat16):
        assert autocast_dtype(torch.device("meta")) is None


def test_other_devices_are_not() -> None:
    assert not bf16_is_fast("meta")
