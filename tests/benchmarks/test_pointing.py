"""The figures of the pointing game against counts by hand and loops over pixels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.pointing import (
    arguments_of,
    chance_of_hit,
    coverage,
    energy,
    energy_elsewhere,
    fit_locator,
    hits,
    judge,
    located,
    measured,
    spread,
    table,
)
from vtclip.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def corner_mask() -> Tensor:
    """A target of 2 x 3 pixels in an image of 6 x 6, of a grid of 3 x 3."""
    mask = torch.zeros(1, 6, 6)
    mask[0, 0:2, 1:4] = 1
    return mask


def test_coverage_by_hand() -> None:
    expected = [0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert coverage(corner_mask(), 3).tolist() == [expected]


def test_energy_of_even_weights_is_the_share_of_the_area() -> None:
    covered = coverage(corner_mask(), 3)
    assert energy(torch.ones(1, 9), covered).item() == pytest.approx(6 / 36)


def test_energy_is_the_weight_of_the_pixels_of_the_target() -> None:
    torch.manual_seed(0)
    weights, masks = torch.rand(4, 9), (torch.rand(4, 6, 6) < 0.3).float()
    by_pixel = weights.view(4, 3, 3).repeat_interleave(2, 1).repeat_interleave(2, 2)
    for row in range(4):
        on_target = sum(
            float(by_pixel[row, y, x]) for y in range(6) for x in range(6) if masks[row, y, x]
        )
        expected = on_target / float(by_pixel[row].sum())
        assert energy(weights, coverage(masks, 3))[row].item() == pytest.approx(expected)


def test_energy_elsewhere_is_the_mean_over_all_pairs() -> None:
    torch.manual_seed(0)
    weights, covered = torch.rand(5, 9), torch.rand(5, 9)
    pairs = [energy(w[None], c[None]).item() for w in weights for c in covered]
    assert energy_elsewhere(weights, covered) == pytest.approx(sum(pairs) / 25)


def test_hits_count_the_location_that_is_covered_most() -> None:
    covered = torch.tensor([[0.5, 1.0, 0.0], [0.5, 1.0, 0.0], [1.0, 1.0, 0.0]])
    weights = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    # partly on the target is no hit; where two are covered alike either is
    assert hits(weights, covered).tolist() == [False, True, True]
    assert chance_of_hit(covered) == pytest.approx((1 / 3 + 1 / 3 + 2 / 3) / 3)


def test_judge_takes_the_true_class_and_the_mean_of_the_others() -> None:
    covered = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    on_first, even, on_second = [1.0, 0.0], [0.5, 0.5], [0.0, 1.0]
    weights = torch.tensor([[on_first, even, on_second], [even, even, on_first]])
    figures = judge(weights, torch.tensor([0, 1]), covered)
    # image 0: 1 and (0.5 + 0) / 2; image 1: 0.5 and (0.5 + 0) / 2
    assert figures["energy"] == pytest.approx(75)
    assert figures["other texts"] == pytest.approx(25)
    assert figures["elsewhere"] == pytest.approx(50)
    # of two equal weights the first is taken, beside the target of image 1
    assert figures["hit"] == pytest.approx(50)


def test_the_linear_map_finds_what_one_channel_says() -> None:
    torch.manual_seed(0)
    features = F.normalize(torch.randn(50, 9, 6), dim=-1)
    covered = features[..., 2] * 0.5 + 0.5
    found = located(3 * features[25:], fit_locator(features[:25], covered[:25]))
    assert hits(found, covered[25:]).all()
    assert torch.allclose(found.float(), covered[25:], atol=2e-3)


def test_options_are_keys_of_the_method() -> None:
    options = ("NORM", "pre", "OPTIM.MAX_EPOCH", "7")
    arguments = arguments_of(options, 2, Path("scenes"), Path("run"))
    assert arguments[-4:] == ["TRAINER.VTCLIP.NORM", "pre", "OPTIM.MAX_EPOCH", "7"]
    assert arguments[arguments.index("--seed") + 1] == "2"


def test_figures_are_kept_for_the_same_arguments(tmp_path: Path) -> None:
    kept = {"arguments": ["--shots", "-2"], "figures": {"seed": 1}}
    (tmp_path / "pointing.json").write_text(json.dumps(kept))
    assert measured(["--shots", "-2"], tmp_path, None) == {"seed": 1}
    with pytest.raises(UserError, match="no_such_method"):
        measured(["--trainer", "no_such_method", "--seed", "1"], tmp_path, None)


def test_a_row_of_one_seed_says_so() -> None:
    names = ("energy", "elsewhere", "other texts", "hit")
    run = {part: dict.fromkeys(names, 50.0) for part in ("before", "after")}
    runs = [{**run, "seed": seed, "accuracy": 20.0 + seed} for seed in (1, 2, 3)]
    rows = table({"references": {}, "settings": {"short": runs, "long": runs[1:2]}})
    assert "| short " in rows and "22.0 ± 0.8 |" in rows
    assert "| long (seed 2) |" in rows and rows.splitlines()[-1].split()[-2] == "22.0"


def test_spread_is_that_of_a_population() -> None:
    assert spread([10.0, 12.0, 14.0]) == "12.0 ± 1.6"


def test_the_page_has_the_recorded_table() -> None:
    recorded = json.loads((ROOT / "benchmarks/results/pointing.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "pointing.md").read_text(encoding="utf-8")
    assert table(recorded["results"]) in page
