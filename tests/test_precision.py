"""Which devices are asked to multiply in bf16."""

from __future__ import annotations

import pytest
import torch

from vtclip.precision import bf16_is_fast


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


@pytest.mark.parametrize("expected", [True, False])
def test_cuda_is_asked_for_what_is_not_emulated(
    monkeypatch: pytest.MonkeyPatch, expected: bool
) -> None:
    asked = []

    def is_supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return expected

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert bf16_is_fast(torch.device("cuda", 1)) is expected
    assert asked == [False]


def test_other_devices_are_not() -> None:
    assert not bf16_is_fast("meta")
