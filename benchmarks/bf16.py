"""What bf16 saves on a processor that has instructions for it, for the page of one that has none.

The figures are those of an earlier `make bench` on such a processor, in results/with_bf16.
"""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from benchmarks.attention import DEFAULT
from benchmarks.machine import RESULTS
from vtclip.files import read_json

FOLDER = RESULTS / "with_bf16"
SECTION = """
## Where bf16 is fast

The processor above has no instructions for bf16. On one that has them (AVX-512 BF16, {cores} cores
of {processor}) an earlier run of the same benchmarks, whose files are in
`benchmarks/results/with_bf16/`, had these seconds:

{rows}
"""


def bf16_section() -> str:
    """Return the section of the page."""
    found = {
        name: read_json(FOLDER / f"{name}.json")
        for name in ("encoding", "attention", "end_to_end", "scaling")
    }
    figures = {name: content["results"] for name, content in found.items()}
    rows = [
        *_encoding(figures["encoding"]["arms"]),
        *_attention(figures["attention"]["comparisons"]),
        *_scaling(figures["scaling"]["imagenet"]["parts"]),
        _whole(figures["end_to_end"]),
    ]
    table = [[name, fp32, bf16, fp32 / bf16] for name, fp32, bf16 in rows]
    head = ["", "fp32", "bf16", "times faster"]
    return SECTION.format(
        **{key: found["end_to_end"]["machine"][key] for key in ("cores", "processor")},
        rows=tabulate(table, head, "github", floatfmt=".2f"),
    )


def _encoding(arms: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    seconds = {
        arm["precision"]: 1 / arm["images_per_second"]
        for arm in arms
        if arm["path"] == "plain" and arm["channels_last"] and not arm["compiled"]
    }
    return [("an image through RN50's size, channels last", seconds["fp32"], seconds["bf16"])]


def _attention(comparisons: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    return [
        (
            f"a step of the attention, K {item['classes']}, feed-forward {item['ffn_ratio']} D",
            item["median_seconds"][DEFAULT],
            item["median_seconds"][f"{DEFAULT}, amp"],
        )
        for item in comparisons
    ]


def _scaling(parts: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    seconds = {(part["part"], part["products"]): part["median_seconds"] for part in parts}
    return [
        (f"a batch of ImageNet's size, {name}", seconds[part, "fp32"], seconds[part, "bf16"])
        for part, name in (("train", "training"), ("test", "evaluation"))
    ]


def _whole(figures: dict[str, Any]) -> tuple[str, float, float]:
    name = "a whole run: encoding in bf16, the head's products in fp32 or bf16"
    return name, figures["in_fp32_scaled_seconds"], figures["cached_scaled_seconds"]
