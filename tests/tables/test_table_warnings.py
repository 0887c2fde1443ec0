from __future__ import annotations

from vtclip.tables.cells import build_cells
from vtclip.tables.collect import Run
from vtclip.tables.table_warnings import table_warnings

from .runs import run


def seeds(accuracies: list[float], **changes: object) -> list[Run]:
    return [run(seed=i, accuracy=a, **changes) for i, a in enumerate(accuracies, start=1)]


def said(runs: list[Run]) -> list[str]:
    return table_warnings(runs, build_cells(runs))


def test_nothing_to_say() -> None:
    zero_shot = [run(trainer="ZeroshotCLIP", shots=0, accuracy=55.0)]
    rival = seeds([80.0, 80.5, 81.0], trainer="CoOp")
    assert said(zero_shot + rival + seeds([90.0, 90.1, 90.2])) == []


def test_methods_whose_prompts_differ_on_a_dataset() -> None:
    tip = seeds([70.0, 70.1, 70.2], trainer="TipAdapter", templates=["a {}.", "the {}."])
    coop = seeds([80.0, 80.1, 80.2], trainer="CoOp", templates=[])
    alike = seeds([90.0, 90.1, 90.2], dataset="Pets", templates=["a {}."])
    assert said(seeds([90.0, 90.1, 90.2]) + tip + coop + alike) == [
        "Digits: the prompts differ: no template (CoOp); 'a photo of the number {}.' (VTCLIP); "
        "'a {}.' and 1 more (Tip-Adapter)"
    ]


def test_a_seed_more_than_five_points_below_zero_shot() -> None:
    assert said(seeds([50.0, 50.0, 50.0])) == []
    assert said(seeds([50.0, 49.9, 50.0])) == [
        "VTCLIP on Digits at 16 shots, seed 2: 49.90%, far below its zero-shot 55.00% (run)"
    ]


def test_a_lead_smaller_than_the_deviation() -> None:
    # means 81 and 80.5, deviations 0.816 and 0.408
    runs = seeds([80.0, 81.0, 82.0]) + seeds([80.0, 80.5, 81.0], trainer="CoOp")
    assert said(runs) == [
        "Digits at 16 shots: VTCLIP leads CoOp by 0.50 points, less than the deviation over seeds, "
        "0.82"
    ]


def test_zero_shot_is_a_rival_at_every_shot_count() -> None:
    runs = seeds([55.0, 57.0, 56.0], shots=1)
    runs += [run(trainer="ZeroshotCLIP", shots=0, accuracy=55.8)]
    assert said(runs) == [
        "Digits at 1 shot: VTCLIP leads ZeroshotCLIP by 0.20 points, less than the deviation over "
        "seeds, 0.82"
    ]


def test_few_seeds() -> None:
    runs = seeds([90.0, 90.0], shots=1) + seeds([90.0, 90.0], shots=2) + seeds([90.0])
    assert said(runs) == [
        "VTCLIP: only 1 seed: Digits at 16 shots",
        "VTCLIP: only 2 seeds: Digits at 1, 2 shots",
    ]
