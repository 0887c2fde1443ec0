"""Packages that only some commands need: one line where they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

import predict
import report
from vtclip import extras
from vtclip.errors import UserError


def test_those_that_are_absent_are_named() -> None:
    extras.require("plots", "report", ["json", "csv"])
    with pytest.raises(UserError) as refused:
        extras.require("plots", "report", ["json", "no_such_module_1", "no_such_module_2"])
    assert str(refused.value) == (
        "report: needs no_such_module_1, no_such_module_2; pip install 'vtclip[plots]' installs "
        "what is missing ('.[plots]' in a checkout)."
    )


def test_pictures_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert report.main(["curves", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: curves: needs matplotlib, jinja2; pip install 'vtclip[plots]'")
    assert predict.main([str(tmp_path), str(tmp_path), "--overlay", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --overlay: needs matplotlib; pip install 'vtclip[plots]'")
    assert list(tmp_path.iterdir()) == []
