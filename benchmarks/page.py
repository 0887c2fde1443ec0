"""Write docs/performance.md and its plot from the figures in benchmarks/results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.attention import DEFAULT, PAIRS
from benchmarks.bf16 import bf16_section
from benchmarks.machine import RESULTS
from vtclip.files import read_json, write_text
from vtclip.threads import SMALL

DOCS = Path(__file__).resolve().parents[1] / "docs"
PLOT = DOCS / "images" / "performance.png"

PAGE = """# Performance

Written by `make bench` (`python -m benchmarks`) from one run of each benchmark on

    {machine}

Absolute times are this machine's; the ratios, each measured within one run, travel better. The JSON
files stand in `benchmarks/results/`. Where a processor has no instructions for bf16, nothing is measured in it.

## A whole run

`python -m benchmarks.end_to_end`: digits, 16 shots, {epochs} epochs on a backbone of RN50's size with
random weights. CoOp's way encodes every image anew every epoch in fp32, with the backbone as CLIP loads
it. Ours encodes the cached views of each image once, in {products} with channels last, and trains on what is
cached, the head's products in {products} too (both precisions `auto`). Tip-Adapter-F and
CLIP-Adapter come last and find the features in the cache.

{end_to_end}

{whole_verdict}

![Seconds of a whole run](images/performance.png)

## Encoding

`python -m benchmarks.encoding`: images a second at 224 pixels, RN50's size, batch {batch}, the arms in
turns, each by its fastest batch. Our own path (`encode_batch`) stands at **{of_best:.0%}** of the
best plain combination{compiled}; reading, decoding and resizing JPEG files included,
`image_features` makes {from_files:.1f} images a second.

{encoding}

## The attention

`python -m benchmarks.attention`: forward and backward, fp32{amp}, one layer,
B {B}, S {S}, D {D}, {heads} heads, against `torch.nn.TransformerDecoderLayer` on texts copied for every image; medians of
interleaved repetitions. *Of the products*: against the two matrix products of the feed-forward part
alone, forward and backward. Peaks are over what was resident before the step, in a process of its own whose
allocator gives back at once what is freed. `max_pairs={pairs}` is the default of `TRAINER.VTCLIP.MAX_PAIRS`, and what the targets are
held against; *ours* alone holds all pairs at once, which at K 100 is the same.

By the number of multiplications alone ours would be faster by {fewer}; what goes
beyond that is less memory to pass over.

{attention}

Targets: 2 times at K 1000 and 1.5 times at K 100 with the feed-forward part, and at most 1.2 of the
products; 6 and 4 times without it (the 4 is more than fewer multiplications alone can give); at most half
of the memory. Which part of the machine's peak a step at K 100 reaches is [below](#what-this-machine-can-do-at-most).

{verdict}

`python -m benchmarks.counted` counts multiplications and peak memory, which are the same on every machine;
a test fails where a step needs more than what is recorded.

## ImageNet's size

`python -m benchmarks.scaling`: 1000 classes, 16,000 training and 50,000 test images from a generated
bank of features, bf16 on disk and mapped, D 1024, S 49, batch 32, `MAX_PAIRS` {max_pairs}. Every batch
of an epoch and of the evaluation is read; the head works on the first of them, and their median is
scaled to all.

{imagenet}

Peak resident memory {peak:.0f} MiB with mapped pages of the bank, which the system takes back when others
need them, {private:.0f} MiB without.

![Time and memory against K, B, S and D](images/scaling.png)

## Threads

`python -m benchmarks.threads`: a training step (forward, backward, AdamW) with one thread and with all
of the machine, in turns. Below {small} million multiplications a step has one thread, and so have light
backbones; the first step is counted, so that the choice is the same everywhere and small runs give the
same figures with any number of threads.

{steps}

{epochs_beside} epochs of VT-CLIP, digits, 16 shots, from the command to the result, on this machine as it is and beside
as many busy loops as it has cores. Threads that wait sleep (`OMP_WAIT_POLICY` passive, unless it is set);
PyTorch's default is all threads for everything, and that they spin.

{beside}

Target: at most 2.5 times beside busy loops, {beside_verdict}.
"""

SHORTLIST = """
## A shortlist of classes

`python -m benchmarks.shortlist`: an epoch of {M} of {K} classes per image (`SHORTLIST`, an
approximation; see [the method](method.md)) against all of them, products in {products}, D {D}, S {S},
random features, in turns within one run; a few steps, scaled to 16,000 training and 50,000 test images.

{rows}

Target: {target:.0f} times for epoch and evaluation together, {verdict}.
"""

SCALED = (
    "*Scaled*: of the epochs of a program a few were measured, and of Tip-Adapter's ten views one; "
    "they are multiplied up to all, other parts are measured as they are. Ours are whole but for the epochs of a head at RN50's size, 20 of 200 (CLIP-Adapter, CoOp)."
)

TIME_TO_ACCURACY = """
## Time to accuracy

`python -m benchmarks.time_to_accuracy --root DIR`: VT-CLIP on 16 shots of Caltech101, K 100, S 49, from an empty
cache to the result, in minutes, on the processor above. *RN50's size* has random weights (D 1024), so that its accuracy means
nothing; *lite-bridge* ([its page](lite_bridge.md)) has D 1280, and so 1.6 times as many multiplications. Accuracy is that on all 1,649
validation images, in percent, which are also what a run evaluates and encodes; *fast-wide* is [that recipe](protocols.md),
of 20 epochs unless a row says otherwise, *paper* the paper's epochs.

{rows}

Target: {target:.0f} minutes at RN50's size and the accuracy of the paper's 200 epochs, {verdict}. Those 200 epochs take hours at these
widths and were run in 256 directions of the lite bridge, where 6 epochs of `fast` do better than they ([protocols](protocols.md#on-photographs)).
"""

STARTUP = """
## Start-up

`python -m benchmarks.startup`: medians of commands in turns.

{rows}

Help beyond Python alone: {help:.2f} s (target 0.3). First line of a training-free run on cached
features: {first:.2f} of `import torch` (target 1.5), the line with its accuracy {accuracy:.2f}, which is {beyond_clip:.2f}
of the import of `clip`, OpenAI's package, and of the torchvision that it brings along. Cached features are read, in batches of 100 as by an evaluation, at {share:.0%} of the speed of a plain read of the same {gigabytes:.1f} GB from the page cache
(target {target:.0%}, {verdict}), and at {conversion:.0%} of that of their conversion to fp32 alone, one pass into
memory that is there. A plain read fills a buffer of 16 MB again and again; features arrive as twice their bytes.
"""

AUTHORS = """
## Beside the authors' own code

`python -m benchmarks.authors --code DIR --data DIR`: the programs that the authors published, unchanged,
and our commands, on the same images and weights, each from the command to its end and from an empty
cache. *RN50's size* has random weights, so that its accuracy means nothing; K 10 is a part of Caltech101
with 4 shots and 4 test images per class, K 100 all its classes with one of each.{scaled}

{rows}

{note}{start}Targets: {target:.0f} times, and {encoding:.0f} for programs that encode images anew in every epoch (their rows
name it). {verdict}

Both sides draw few-shot images and augmented views of their own, so that accuracies differ by chance
where weights are trained. CALIP's program takes the best of its grid on the images that it reports; ours
chooses on validation images. Grids: 200 x 20 points of Tip-Adapter and 200 x 200 of CALIP there, 28 x 28
and 26 x 26 here. That both compute the same logits from the same features is tested
(`tests/trainers/test_*_authors.py`, `tests/methods/`).

What the programs need to run here:

{shims}
"""

ROOFLINE = """
## What this machine can do at most

`python -m benchmarks.roofline`: the best that was seen of products and of passes over memory, in
thousand millions of multiplications or of bytes a second.

{peaks}

Steps of the attention at K 100, S 49, D 1024, B 32. *At the peak*: what its multiplications take at the speed
of large square products. *Its products*: the same products as in the step, in their shapes and their order, with nothing
between them; narrow ones and those of many small matrices stay below the peak. *Passes*: every other
operation reads and writes its tensors once at the speed of a copy. *Of the limit*: its products and passes together over the
median step, 1 where nothing is left to gain but by other multiplications.

{steps}
"""


def write_page() -> None:
    """Write the page; every benchmark must have run."""
    found = {
        name: read_json(RESULTS / f"{name}.json")
        for name in ("encoding", "attention", "end_to_end", "scaling", "threads")
    }
    figures = {name: content["results"] for name, content in found.items()}
    encoding, attention = figures["encoding"], figures["attention"]
    whole, scaling = figures["end_to_end"], figures["scaling"]
    draw(whole["rows"])
    own = [arm for arm in encoding["arms"] if arm["path"] != "plain"]
    eager = next(arm for arm in own if not arm["compiled"])
    compiled = [arm for arm in own if arm["compiled"]]
    imagenet = scaling["imagenet"]
    page = PAGE.format(
        machine=", ".join(
            f"{key} {value}" for key, value in found["end_to_end"]["machine"].items()
        ),
        epochs=whole["epochs"],
        products=whole["products"],
        end_to_end=tabulate(whole["rows"], ["", "seconds", ""], "github", floatfmt=".2f"),
        whole_verdict=_whole_verdict(whole),
        batch=encoding["batch_size"],
        of_best=eager["of_best"],
        compiled=f", {compiled[0]['of_best']:.0%} with FEATURES.COMPILE" if compiled else "",
        from_files=encoding["from_files_images_per_second"],
        encoding=tabulate(encoding["arms"], "keys", "github", floatfmt=".2f"),
        amp=" but for the rows in bf16 (amp)" if whole["products"] == "bf16" else "",
        **attention["shape"],
        pairs=PAIRS,
        fewer=_fewer(attention["comparisons"]),
        attention=tabulate(
            [row for item in attention["comparisons"] for row in _attention_rows(item)],
            [
                "K",
                "feed-forward",
                "",
                "seconds",
                "times faster",
                "of the products",
                "MiB",
                "memory",
            ],
            "github",
            floatfmt=".2f",
        ),
        verdict=_verdict(attention["comparisons"]),
        max_pairs=imagenet["max_pairs"],
        imagenet=tabulate(
            [
                (
                    {"train": "training epoch", "test": "evaluation"}[part["part"]],
                    part["products"],
                    part["batches_measured"],
                    part["batches_in_all"],
                    part["median_seconds"],
                    part["scaled_minutes"],
                )
                for part in imagenet["parts"]
            ],
            [
                "",
                "products in",
                "batches measured",
                "in all",
                "seconds per batch",
                "minutes in all (scaled)",
            ],
            "github",
            floatfmt=".2f",
        ),
        peak=imagenet["peak_mib"],
        private=imagenet["peak_private_mib"],
        **_threads(figures["threads"]),
    )
    page += "".join(
        section(read_json(path)["results"])
        for name, section in (
            ("authors", _authors),
            ("shortlist", _shortlist),
            ("time_to_accuracy", _time_to_accuracy),
            ("startup", _startup),
            ("roofline", _roofline),
        )
        if (path := RESULTS / f"{name}.json").is_file()
    )
    if whole["products"] == "fp32":
        page += bf16_section()
    write_text(DOCS / "performance.md", page)
    print(f"wrote {DOCS.name}/performance.md")


def _whole_verdict(whole: dict[str, Any]) -> str:
    """Compare a whole run and start-up with their targets."""
    ratio = whole["on_the_fly_scaled_seconds"] / whole["cached_scaled_seconds"]
    epochs = 100 * (1 - whole["cached"]["features"] / whole["cached_scaled_seconds"])
    reached = f"{'reached' if ratio >= 20 else 'missed'} ({ratio:.1f}; {epochs:.0f} % of our time are the head's own epochs)"
    startup = whole["startup"]["train.py beyond"]
    return (
        f"Target: 20 times faster, {reached}. Target: train.py within 1.5 s of `import torch`, "
        f"{'reached' if startup < 1.5 else 'missed'} ({startup:.2f} s)."
    )


def _threads(threads: dict[str, Any]) -> dict[str, Any]:
    """Return what the page says of threads."""
    steps = [
        [
            step["head"],
            step["multiplications"] / 1e6,
            1e3 * step["one_thread_seconds"],
            1e3 * step["all_threads_seconds"],
            step["gain"],
        ]
        for step in threads["steps"]
    ]
    runs = [
        [
            run["threads"],
            run["alone_seconds"],
            run["beside_seconds"],
            run["beside_seconds"] / run["alone_seconds"],
        ]
        for run in threads["runs"]
    ]
    ratio = runs[0][-1]
    return {
        "small": SMALL // 10**6,
        "steps": tabulate(
            steps, ["head", "million", "one, ms", "all, ms", "one / all"], "github", floatfmt=".2f"
        ),
        "epochs_beside": threads["epochs"],
        "beside": tabulate(
            runs, ["threads", "alone, s", "beside, s", "beside / alone"], "github", floatfmt=".2f"
        ),
        "beside_verdict": f"{'reached' if ratio <= 2.5 else 'missed'} ({ratio:.2f})",
    }


def _authors(found: dict[str, Any]) -> str:
    """Return the section on the authors' own programs."""
    records = found["records"]
    rows = [
        [
            record["case"],
            record["method"],
            f"{record['theirs_seconds']:.1f}{' (scaled)' if record['scaled'] else ''}",
            f"{record['ours_seconds']:.1f}",
            f"{record['times_faster']:.1f}",
            f"{record['target']:.0f}",
            f"{record['theirs_accuracy']:.2f}",
            f"{record['ours_accuracy']:.2f}",
        ]
        for record in records
    ]
    missed = [
        f"{record['times_faster']:.1f} instead of {record['target']:.0f} ({record['method']}, {record['case']})"
        for record in records
        if record["times_faster"] < record["target"]
    ]
    head = ["", "method", "theirs, s", "ours, s", "times faster", "target", "theirs, %", "ours, %"]
    return AUTHORS.format(
        rows=tabulate(rows, head, "github", disable_numparse=True),
        # of one run, until the next one writes the file anew
        note=f"{found['note']}\n\n" if "note" in found else "",
        start=_start_of_both(),
        scaled=f" {SCALED}" if any(record["scaled"] for record in records) else "",
        target=min(record["target"] for record in records),
        encoding=max(record["target"] for record in records),
        verdict=f"Missed: {'; '.join(missed)}." if missed else "All were reached in this run.",
        shims="\n".join(f"- {shim}" for shim in found["shims"]),
    )


def _start_of_both() -> str:
    """Say what part of all times the imports are, where start-up was measured."""
    path = RESULTS / "startup.json"
    if not path.is_file():
        return ""
    seconds = read_json(path)["results"]["starts"]["median_seconds"]["import torch, clip"]
    return (
        f"{seconds:.1f} s of each time on either side are the import of PyTorch, torchvision and CLIP "
        "([start-up](#start-up)).\n\n"
    )


def _shortlist(found: dict[str, Any]) -> str:
    """Return the section on the shortlist."""
    short, every = found["scaled_minutes"].values()
    ratios = found["times_faster"]
    rows = [[name, short[name], every[name], ratios[name]] for name in short]
    whole = ratios["epoch_and_evaluation"]
    rows.append(["together", sum(short.values()), sum(every.values()), whole])
    shape = found["shape"]
    head = ["", f"M {shape['M']}, minutes", f"M {shape['K']}, minutes", "times faster"]
    return SHORTLIST.format(
        **shape,
        products=found["products"],
        rows=tabulate(rows, head, "github", floatfmt=".2f"),
        target=found["target"],
        verdict=f"{'reached' if whole >= found['target'] else 'missed'} ({whole:.1f})",
    )


def _time_to_accuracy(found: dict[str, Any]) -> str:
    """Return the section on the time to accuracy."""
    target = found["target_minutes"]
    head = ["", "seed", "epochs", "minutes", "features", "training", "accuracy"]
    rows = [
        [
            run["run"],
            run["seed"],
            run["epochs"],
            f"{run['minutes']:.1f}",
            f"{run['features']:.1f}",
            f"{run['train']:.1f}",
            f"{run['accuracy']:.2f}",
        ]
        for run in found["runs"]
    ]
    of_size = [run["minutes"] for run in found["runs"] if run["run"].startswith("RN50")]
    return TIME_TO_ACCURACY.format(
        rows=tabulate(rows, head, "github", disable_numparse=True),
        target=target,
        verdict=f"{'reached' if min(of_size) <= target else 'missed'} ({min(of_size):.1f})"
        if of_size
        else "not measured",
    )


def _startup(found: dict[str, Any]) -> str:
    """Return the section on start-up and reading."""
    starts, reading = found["starts"], found["reading"]
    return STARTUP.format(
        rows=tabulate(
            [*starts["median_seconds"].items()], ["", "seconds"], "github", floatfmt=".2f"
        ),
        help=starts["help_beyond_python_seconds"],
        first=starts["first_line_over_import_torch"],
        accuracy=starts["accuracy_over_import_torch"],
        beyond_clip=starts["accuracy_over_import_clip"],
        share=reading["share_of_plain_read"],
        target=reading["target"],
        verdict="reached" if reading["share_of_plain_read"] >= reading["target"] else "missed",
        conversion=reading["share_of_conversion"],
        gigabytes=reading["bytes"] / 1e9,
    )


def _roofline(found: dict[str, Any]) -> str:
    """Return the section on the limits of the machine."""
    peaks = [[name, value / 1e9] for name, value in found["per_second"].items()]
    steps = [
        [
            row["step"],
            row["median_seconds"],
            row["least_seconds_of_products"],
            row["seconds_of_own_products"],
            row["seconds_of_passes"],
            row["share_of_limit"],
        ]
        for row in found["steps"]
    ]
    head = [
        *("products, feed-forward", "seconds", "at the peak"),
        *("its products", "passes", "of the limit"),
    ]
    return ROOFLINE.format(
        peaks=tabulate(peaks, ["", "1e9 a second"], "github", floatfmt=".1f"),
        steps=tabulate(steps, head, "github", floatfmt=".2f"),
    )


def _attention_rows(item: dict[str, Any]) -> list[list[Any]]:
    median, mib = item["median_seconds"], item["peak_mib"]
    rows = []
    for name in [*median, *(name for name in mib if name not in median)]:
        seconds = median.get(name)
        rows.append(
            [
                item["classes"],
                f"{item['ffn_ratio']} D",
                name,
                seconds,
                median["reference"] / seconds if seconds else None,
                seconds / median["products"] if seconds and "products" in median else None,
                mib.get(name),
                mib[name] / mib["reference"] if name in mib else None,
            ]
        )
    return rows


def _fewer(comparisons: list[dict[str, Any]]) -> str:
    """Say how many times fewer multiplications ours makes, by shape."""
    return ", ".join(
        f"{item['fewer_multiplications']:.2f} (K {item['classes']}, {item['ffn_ratio']} D)"
        for item in comparisons
    )


# (classes, feed-forward ratio): at least so many times faster than the reference
TARGETS = {(1000, 4): 2.0, (100, 4): 1.5, (1000, 0): 6.0, (100, 0): 4.0}


def _verdict(comparisons: list[dict[str, Any]]) -> str:
    """Say which targets were missed, with the figures."""
    missed = []
    for item in comparisons:
        median, mib = item["median_seconds"], item["peak_mib"]
        place = f"at K {item['classes']}, feed-forward {item['ffn_ratio']} D"
        target = TARGETS[item["classes"], item["ffn_ratio"]]
        faster = median["reference"] / median[DEFAULT]
        if faster < target:
            missed.append(f"{faster:.2f} times instead of {target} {place}")
        of_products = median[DEFAULT] / median.get("products", float("inf"))
        if of_products > 1.2:
            missed.append(f"{of_products:.2f} of the products instead of 1.2 {place}")
        memory = mib[DEFAULT] / mib["reference"]
        if memory > 0.5:
            missed.append(f"{memory:.2f} of the memory instead of 0.5 {place}")
    return f"Missed: {'; '.join(missed)}." if missed else "All were reached in this run."


def draw(rows: list[list[Any]]) -> None:
    """Plot the seconds of whole runs, on a logarithmic axis."""
    from matplotlib.figure import Figure

    bars = [row for row in rows if row[0][0].isupper()][::-1]
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh(
        [row[0] for row in bars], [row[1] for row in bars], color="tab:blue", log=True
    )
    axes.bar_label(drawn, [f"{row[1]:,.0f} s" for row in bars], padding=3)
    axes.set_xlim(right=3 * max(row[1] for row in bars))
    axes.set_xlabel("seconds of a whole run, training and test")
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    write_page()
