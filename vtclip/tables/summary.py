"""The mean over one folder of seeds, printed as CoOp's parser does, and a table below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from vtclip.errors import UserError
from vtclip.results import RESULT_FILE
from vtclip.tables.collect import Run
from vtclip.tables.comparability import seed_differences
from vtclip.tables.metrics import UNKNOWN, keywords_of, metric_of
from vtclip.tables.seeds import Seed, Unfinished, read_seed, subfolders
from vtclip.tables.spread import ci95, mean, std
from vtclip.tables.table_warnings import ENOUGH_SEEDS, collapsed_seeds


@dataclass(frozen=True)
class Experiment:
    """The seeds below one folder."""

    directory: str
    seeds: list[Seed]
    unfinished: list[Unfinished]


def read_experiment(directory: str, keyword: str, signal: str) -> Experiment:
    """Read each sub-folder of `directory` as a seed.

    Raises:
        UserError: there is no such folder.
    """
    keywords = keywords_of(keyword)
    read = [read_seed(folder, keywords, signal) for folder in subfolders(directory)]
    return Experiment(
        directory,
        [seed for seed in read if isinstance(seed, Seed)],
        [seed for seed in read if isinstance(seed, Unfinished)],
    )


def summarise(directory: str, keyword: str, signal: str, interval: str) -> str:
    """Return the summary of one folder of seeds.

    Args:
        directory: the folder, printed as it is spelt.
        keyword: the name of the value, one of METRICS or another one of the logs; or several of
            them, "accuracy,ece".
        signal: the line of a log after which values count.
        interval: "std" or "ci95".

    Raises:
        UserError: no seed is finished; it says which file lacks what.
    """
    experiment = read_experiment(directory, keyword, signal)
    if not experiment.seeds:
        raise _nothing_found([experiment], directory)
    lines = _summary(experiment, keyword, interval)
    return "\n".join([*lines, *_details([experiment], keyword)])


def summarise_all(directory: str, keyword: str, signal: str, interval: str) -> str:
    """Return the summaries of all folders of seeds in `directory`, and the mean of their means.

    Raises:
        UserError: no seed of any is finished; it says which file lacks what.
    """
    experiments = [read_experiment(d, keyword, signal) for d in subfolders(directory)]
    finished = [e for e in experiments if e.seeds]
    if not finished:
        raise _nothing_found(experiments, directory)
    lines = [line for e in finished for line in _summary(e, keyword, interval)]
    averages = [_average(name, finished) for name in keywords_of(keyword)]
    lines += ["Average performance", *averages]
    return "\n".join([*lines, *_details(experiments, keyword)])


def _values(experiment: Experiment, keyword: str) -> list[float]:
    """Return the values of all seeds; none where one is unknown, for a mean is over all of them."""
    values = [seed.values.get(keyword) for seed in experiment.seeds]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else []


def _text(keyword: str, value: float | None) -> str:
    metric = metric_of(keyword)
    return UNKNOWN if value is None else f"{metric.text(value)}{metric.sign}"


def _average(keyword: str, experiments: Sequence[Experiment]) -> str:
    values = [_values(experiment, keyword) for experiment in experiments]
    average = mean([mean(v) for v in values]) if all(values) else None
    return f"* {keyword}: {_text(keyword, average)}"


def _mean_and_spread(keyword: str, experiment: Experiment, interval: str) -> str:
    values = _values(experiment, keyword)
    if not values:
        return f"* {keyword}: {UNKNOWN}"
    spread = ci95(values) if interval == "ci95" else std(values)
    return f"* {keyword}: {_text(keyword, mean(values))} +- {_text(keyword, spread)}"


def _summary(experiment: Experiment, keyword: str, interval: str) -> list[str]:
    keywords = keywords_of(keyword)
    # CoOp's lines end in a space, and scripts that read them may count on it
    seeds = [
        f"file: {seed.file}. "
        + "".join(f"{name}: {_text(name, seed.values.get(name))}. " for name in keywords)
        for seed in experiment.seeds
    ]
    return [
        f"Parsing files in {experiment.directory}",
        *seeds,
        "===",
        f"Summary of directory: {experiment.directory}",
        *(_mean_and_spread(name, experiment, interval) for name in keywords),
        "===",
    ]


def _details(experiments: Sequence[Experiment], keyword: str) -> list[str]:
    lines = ["", _table(experiments, keyword)]
    notes = []
    for experiment in experiments:
        notes += [f"unfinished: {u.folder}: {u.lacks}" for u in experiment.unfinished]
        if not experiment.seeds and not experiment.unfinished:
            notes.append(f"unfinished: {experiment.directory}: no sub-folders")
        notes += [f"note: {seed.note}" for seed in experiment.seeds if seed.note]
        notes += [f"warning: {sentence}" for sentence in _warnings(experiment)]
    return [*lines, "", *notes] if notes else lines


def _table(experiments: Sequence[Experiment], keyword: str) -> str:
    several = len(experiments) > 1
    columns = list(dict.fromkeys([*keywords_of(keyword), "accuracy", "macro_f1"]))
    rows = []
    for experiment in experiments:
        for seed in experiment.seeds:
            texts = [metric_of(name).text(seed.values.get(name)) for name in columns]
            seconds = "" if seed.seconds is None else f"{seed.seconds:.1f}"
            place = [Path(experiment.directory).name] if several else []
            rows.append([*place, seed.name, *texts, seconds])
    value_titles = [metric_of(name).title for name in columns]
    header = [*(["experiment"] if several else []), "seed", *value_titles, "seconds"]
    left = len(header) - len(columns) - 1
    align = ["left"] * left + ["right"] * (len(header) - left)
    return tabulate(rows, headers=header, disable_numparse=True, colalign=align)


def _warnings(experiment: Experiment) -> list[str]:
    runs = [Run(Path(s.file).parent, s.result) for s in experiment.seeds if s.result is not None]
    found = seed_differences(runs) + collapsed_seeds(runs)
    drawn = any(s.result is None or s.result.shots != 0 for s in experiment.seeds)
    if drawn and 0 < len(experiment.seeds) < ENOUGH_SEEDS:
        number = len(experiment.seeds)
        found.append(f"{experiment.directory}: only {number} finished seed{'s' * (number > 1)}")
    return found


def _nothing_found(experiments: Sequence[Experiment], directory: str) -> UserError:
    unfinished = [u for e in experiments for u in e.unfinished]
    deeper = (below for u in unfinished for below in _content(Path(u.folder)))
    if _is_seed(Path(directory)):
        why = "it is a seed itself; give the folder above"
    elif not unfinished:
        why = "it has no sub-folder for each seed"
    elif experiments[0].directory == directory and any(_is_seed(below) for below in deeper):
        why = "its sub-folders are folders of seeds; add --multi-exp"
    else:
        why = "; ".join(f"{u.folder}: {u.lacks}" for u in unfinished)
    return UserError(f"Nothing found in {directory}: {why}.")


def _is_seed(folder: Path) -> bool:
    return any(path.name in (RESULT_FILE, "log.txt") for path in _content(folder))


def _content(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # no folder, or one that cannot be read: then its seeds say so
        return []
