"""Paired comparison of runs with a baseline, case by case.

Some scans are hard for every run, so differences within a case are more precise than differences of means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from app.metrics.statistics import interval_over_seeds
from app.report.read.runs import Run
from app.report.wording import mean

Judged = tuple[str | None, tuple[str, ...], str]
"""A case by its data set, the labels scored in it, and its name; a pair needs the same three."""
_LEAST_GROUPS = 6  # the Wilcoxon test cannot reach p < 0.05 with fewer


@dataclass(frozen=True)
class CaseMean:
    """The mean Dice of a case over its labels, and the group that the case belongs to."""

    dice: float
    group: str


CaseMeans = Mapping[Judged, CaseMean]


@dataclass(frozen=True)
class Difference:
    """The mean Dice difference over cases of a run to a baseline, with its 95 % interval.

    `method` names how the interval is computed. `p` belongs to the two-sided Wilcoxon signed-rank test over
    groups; None for fewer than six groups.
    """

    mean: float
    low: float
    high: float
    cases: int
    groups: int
    method: str
    p: float | None


def case_means(runs: Sequence[Run]) -> CaseMeans:
    """Return the mean Dice of each case over its labels and over the runs that held it out."""
    found: dict[Judged, dict[str, list[float]]] = {}
    groups: dict[Judged, str] = {}
    for run in runs:
        judged = run.data_set, tuple(run.labels())
        for score in run.scores or ():
            if score.dice is not None:
                case = (*judged, score.case)
                groups[case] = score.unit
                found.setdefault(case, {}).setdefault(run.name, []).append(score.dice)
    means = {case: mean(mean(labels) for labels in by_run.values()) for case, by_run in found.items()}
    return {case: CaseMean(value, groups[case]) for case, value in means.items() if value is not None}


def seed_means(runs: Sequence[Run], cases: CaseMeans) -> list[float]:
    """Return the mean Dice over `cases` for each seed; seeds that lack one of the cases are left out."""
    found = []
    for seed in sorted({run.summary.seed or "" for run in runs}):
        own = case_means([run for run in runs if (run.summary.seed or "") == seed])
        if cases and cases.keys() <= own.keys():
            found.append(float(np.mean([own[case].dice for case in cases])))
    return found


def difference(
    ours: CaseMeans, baseline: CaseMeans, runs: Sequence[Run] = (), baseline_runs: Sequence[Run] = ()
) -> Difference | None:
    """Return the difference on the cases that both sides have; None for fewer than two groups of them.

    If the runs of both sides are given, the interval also includes the variance between seeds.
    """
    shared = {case: ours[case] for case in sorted(ours.keys() & baseline.keys())}
    values = [(found.group, found.dice - baseline[case].dice) for case, found in shared.items()]
    interval = interval_over_seeds(values, [seed_means(side, shared) for side in (runs, baseline_runs)])
    if interval is None:
        return None
    return Difference(
        mean=float(np.mean([value for _, value in values])),
        low=interval.low,
        high=interval.high,
        cases=len(shared),
        groups=interval.groups,
        method=interval.method,
        p=_p(values),
    )


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return p values corrected for multiple tests (Holm, Scandinavian Journal of Statistics 6, 65, 1979)."""
    order = sorted((p, index) for index, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    reached = 0.0
    for rank, (p, index) in enumerate(order):
        reached = min(1.0, max(reached, (len(order) - rank) * p))
        corrected[index] = reached
    return corrected


def _p(values: Sequence[tuple[str, float]]) -> float | None:
    groups: dict[str, list[float]] = {}
    for group, value in values:
        groups.setdefault(group, []).append(value)
    means = np.array([np.mean(found) for found in groups.values()])
    if len(means) < _LEAST_GROUPS:
        return None
    return float(stats.wilcoxon(means).pvalue) if means.any() else 1.0
