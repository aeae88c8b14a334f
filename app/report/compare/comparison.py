"""Runs against a baseline, case by case: the same scans are hard for all, so pairs tell most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from app.report.read.runs import Run
from app.report.wording import mean

Judged = tuple[str | None, tuple[str, ...], str]
"""A case by its data set, what is scored in it, and its name: only the same of all three is a pair."""
CaseMeans = Mapping[Judged, float]
"""Mean Dice over the labels, by case."""
_RESAMPLES = 5000  # the ends of the interval then repeat to the third digit


@dataclass(frozen=True)
class Difference:
    """Mean over cases of a run's Dice less the baseline's, with its 95 % bootstrap interval.

    `p` is that of the two-sided Wilcoxon signed-rank test; None for fewer than six cases, too few for 0.05.
    """

    mean: float
    low: float
    high: float
    cases: int
    p: float | None


def case_means(runs: Sequence[Run]) -> CaseMeans:
    """Mean Dice of each case over its labels and over those of the runs that held it out."""
    found: dict[Judged, dict[str, list[float]]] = {}
    for run in runs:
        judged = run.data_set, tuple(run.labels())
        for score in run.scores or ():
            if score.dice is not None:
                found.setdefault((*judged, score.case), {}).setdefault(run.name, []).append(score.dice)
    means = {case: mean(mean(labels) for labels in by_run.values()) for case, by_run in found.items()}
    return {case: value for case, value in means.items() if value is not None}


def difference(ours: CaseMeans, baseline: CaseMeans) -> Difference | None:
    """Compare over the cases both have; None for fewer than two."""
    shared = sorted(ours.keys() & baseline.keys())
    if len(shared) < 2:
        return None
    values = np.array([ours[case] - baseline[case] for case in shared])
    low, high = _bootstrap(values)
    return Difference(float(values.mean()), low, high, len(shared), _p(values))


def interval(values: Sequence[float | None]) -> tuple[float, float] | None:
    """The 95 % bootstrap interval of the mean of the defined values; None for fewer than two."""
    defined = np.array([value for value in values if value is not None])
    return _bootstrap(defined) if len(defined) > 1 else None


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values made good for their number (Holm, Scandinavian Journal of Statistics 6, 65, 1979)."""
    order = sorted((p, index) for index, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    reached = 0.0
    for rank, (p, index) in enumerate(order):
        reached = min(1.0, max(reached, (len(order) - rank) * p))
        corrected[index] = reached
    return corrected


def _bootstrap(values: np.ndarray) -> tuple[float, float]:
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=_RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def _p(values: np.ndarray) -> float | None:
    if len(values) < 6:
        return None
    return float(stats.wilcoxon(values).pvalue) if values.any() else 1.0
