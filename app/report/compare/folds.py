"""Cross-validation: the results of all folds of one configuration, in folds.json and folds.csv.

Two means are given, each with its standard error. One is over the folds, as in publications. The other is
over the cases, each of which is held out once; its standard error treats the cases of one group (patient)
together. Repeats of a fold with other seeds are averaged first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from app.core import run_folder
from app.core.csv_file import write_csv
from app.core.files import write_json
from app.core.sweep import Sweep, SweepJob
from app.metrics.results import statistics_of
from app.metrics.score import Score
from app.metrics.statistics import Valued, standard_error
from app.report.compare.comparison import case_means
from app.report.compare.results import figure_texts, sweep_runs
from app.report.read.runs import Run
from app.report.wording import mean

POOLED_METRICS = ("dice", "hd95_mm", "nsd")


@dataclass(frozen=True)
class Estimate:
    """One figure over folds and over cases; a standard error is None for fewer than two values."""

    mean: float | None
    standard_error: float | None
    folds: Mapping[str, float]
    case_mean: float | None
    case_standard_error: float | None
    cases: int


@dataclass(frozen=True)
class CrossValidation:
    """The folds of one group of a sweep.

    `missing` lists jobs without results; their folds may be absent.
    """

    group: str
    folds: tuple[str, ...]
    missing: tuple[str, ...]
    mean_dice: Estimate
    scores: Mapping[str, Mapping[str, Estimate]]
    """Estimates by metric and label."""
    pooled: tuple[Score, ...]
    """Scores with each case once."""


def write_folds(folder: Path, sweep: Sweep) -> list[CrossValidation]:
    """Write folds.json and folds.csv into a sweep's folder; write nothing if no group has several folds.

    Raises:
        InputError: a file of a run is broken.
    """
    found = cross_validate(sweep_runs(folder, sweep), sweep)
    if found:
        write_json(folder / run_folder.FOLDS, {one.group: _folds_record(one) for one in found})
        rows = [figure_texts(row) for one in found for row in _rows(one)]
        write_csv(folder / run_folder.FOLDS_TABLE, rows)
    return found


def cross_validate(runs: Sequence[Run], sweep: Sweep) -> list[CrossValidation]:
    """Combine the evaluated runs of every group that has jobs of several folds."""
    evaluated = {run.folder.name: run for run in runs if run.summary.mean_dice is not None}
    groups: dict[str, list[SweepJob]] = {}
    for entry in sweep.entries:
        groups.setdefault(entry.group, []).append(entry)
    found = []
    for name, entries in groups.items():
        ours = [evaluated[entry.name] for entry in entries if entry.name in evaluated]
        if ours and len({_fold(entry) for entry in entries}) > 1:
            missing = tuple(entry.name for entry in entries if entry.name not in evaluated)
            found.append(_together(name, ours, missing))
    return found


def _together(group: str, runs: Sequence[Run], missing: tuple[str, ...]) -> CrossValidation:
    labels = list(dict.fromkeys(label for run in runs for label in run.labels()))
    cases = [(found.group, found.dice) for found in case_means(runs).values()]
    means = _estimate([(run, run.summary.mean_dice) for run in runs], cases)
    return CrossValidation(
        group=group,
        folds=tuple(dict.fromkeys(str(run.summary.fold) for run in runs)),
        missing=missing,
        mean_dice=means,
        scores={name: {label: _of_label(runs, name, label) for label in labels} for name in POOLED_METRICS},
        pooled=tuple(pool_folds(runs)),
    )


def pool_folds(runs: Sequence[Run]) -> list[Score]:
    """Return the scores of all folds, one per case and label: means over repeats with other seeds.

    A label that any repeat misses in a case counts as missed there, and so does a false alarm of any.
    """
    found: dict[tuple[str, str], list[Score]] = {}
    for score in (score for run in runs for score in run.scores or ()):
        found.setdefault((score.case, score.label), []).append(score)
    return [_mean_score(scores) for scores in found.values()]


def _mean_score(scores: Sequence[Score]) -> Score:
    values = {name: mean(score.values.get(name) for score in scores) for name in scores[0].values}
    missed = any(score.status == "missed" for score in scores)
    return replace(
        scores[0], values=values, volume_mm3=0.0 if missed else fmean(score.volume_mm3 for score in scores)
    )


def _of_label(runs: Sequence[Run], metric: str, label: str) -> Estimate:
    by_case: dict[tuple[str, str], list[float]] = {}
    for score in (score for run in runs for score in run.scores or () if score.label == label):
        value = score.values.get(metric)
        if value is not None:
            by_case.setdefault((score.case, score.unit), []).append(value)
    values = [(run, getattr(run.summary, metric).get(label)) for run in runs]
    return _estimate(values, [(unit, fmean(found)) for (_, unit), found in by_case.items()])


def _estimate(values: Iterable[tuple[Run, float | None]], cases: Valued) -> Estimate:
    by_fold: dict[str, list[float]] = {}
    for run, value in values:
        if value is not None:
            by_fold.setdefault(str(run.summary.fold), []).append(value)
    folds = {fold: fmean(found) for fold, found in by_fold.items()}
    return Estimate(
        *(mean(folds.values()), standard_error([*folds.items()]), folds),
        *(mean(value for _, value in cases), standard_error(cases), len(cases)),
    )


def _fold(entry: SweepJob) -> str:
    return next((word for word in entry.overrides if word.startswith("fold=")), "")


def _folds_record(found: CrossValidation) -> dict[str, Any]:
    scores = {
        name: {label: asdict(one) for label, one in by_label.items()}
        for name, by_label in found.scores.items()
    }
    head = {"folds": list(found.folds), "missing": list(found.missing), "mean_dice": asdict(found.mean_dice)}
    return {**head, **scores, "statistics": statistics_of(found.pooled, {})["labels"]}


def _rows(found: CrossValidation) -> Iterable[dict[str, object]]:
    for metric, label, one in [
        ("dice", "mean", found.mean_dice),
        *((name, label, one) for name, of in found.scores.items() for label, one in of.items()),
    ]:
        yield {
            **{"group": found.group, "metric": metric, "label": label},
            **{"mean": one.mean, "standard_error": one.standard_error},
            **{"case_mean": one.case_mean, "case_standard_error": one.case_standard_error},
            **{"cases": one.cases, "folds": len(one.folds)},
            **{f"fold_{fold}": value for fold, value in one.folds.items()},
        }
