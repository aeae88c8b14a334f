"""Statistics of scores over cases: what is reported of a metric, and how sure the mean is.

The unit of analysis is the group (a patient), as cases of one group are alike. Up to 49 groups the interval
of a mean is Student's t with the standard error of the group sums, which keeps its promise for few cases (El
Jurdi et al., arXiv 2307.10926); from 50 groups on it is a bootstrap that draws whole groups.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from app.metrics.metric import METRICS, Metric
from app.metrics.score import Score

BOOTSTRAP_FROM = 50  # groups; with fewer, percentiles of the bootstrap are too narrow
_RESAMPLES = 5000  # the ends of the interval then repeat to the third digit
_LEAST_STRATUM = 3  # cases

Valued = Sequence[tuple[str, float]]
"""Values, each with the group it belongs to."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a mean, how it was found, and from how many groups."""

    low: float
    high: float
    method: str
    groups: int


@dataclass(frozen=True)
class Statistics:
    """A metric of a label over cases; `undefined` cases have no value and count nowhere else."""

    n: int
    undefined: int
    mean: float | None
    sd: float | None
    """None for fewer than two values."""
    median: float | None
    lower_quartile: float | None
    upper_quartile: float | None
    worst_case: str | None
    worst: float | None
    interval: Interval | None
    """None for fewer than two groups."""


@dataclass(frozen=True)
class Presence:
    """How often a label is there, and in which cases prediction and reference disagree about that."""

    cases: int
    found: int
    absent: int
    missed: tuple[str, ...]
    false_alarms: tuple[str, ...]

    @property
    def reference(self) -> int:
        """Cases whose reference has the label."""
        return self.found + len(self.missed)


@dataclass(frozen=True)
class Stratum:
    """The cases of one value of a column, or of one size of a label, and their statistics by metric."""

    by: str
    value: str
    label: str
    metrics: Mapping[str, Statistics]


def labels_of(scores: Iterable[Score]) -> list[str]:
    """Return the labels in the order of the scores."""
    return list(dict.fromkeys(score.label for score in scores))


def describe(scores: Sequence[Score], metric: Metric) -> Statistics:
    """Describe a metric over the scores of one label."""
    known = [(score, value) for score in scores if (value := score.values.get(metric.name)) is not None]
    if not known:
        return Statistics(0, len(scores), *[None] * 8)
    values = np.array([value for _, value in known])
    lower, median, upper = (float(value) for value in np.percentile(values, (25, 50, 75)))
    case, worst = max(((score.case, value) for score, value in known), key=lambda one: metric.badness(one[1]))
    return Statistics(
        n=len(values),
        undefined=len(scores) - len(values),
        mean=float(values.mean()),
        sd=float(values.std(ddof=1)) if len(values) > 1 else None,
        median=median,
        lower_quartile=lower,
        upper_quartile=upper,
        worst_case=case,
        worst=worst,
        interval=interval_of_mean([(score.unit, value) for score, value in known], metric.low, metric.high),
    )


def describe_all(scores: Sequence[Score]) -> dict[str, dict[str, Statistics]]:
    """Describe every metric by its name and by label."""
    by_label = {label: [score for score in scores if score.label == label] for label in labels_of(scores)}
    names = {name for score in scores for name in score.values}
    return {
        metric.name: {label: describe(of_label, metric) for label, of_label in by_label.items()}
        for metric in METRICS
        if metric.name in names
    }


def presence(scores: Sequence[Score]) -> Presence:
    """Count the scores of one label by their status."""
    return Presence(
        cases=len(scores),
        found=sum(score.status == "found" for score in scores),
        absent=sum(score.reference_mm3 == 0 for score in scores),
        missed=tuple(score.case for score in scores if score.status == "missed"),
        false_alarms=tuple(score.case for score in scores if score.status == "false alarm"),
    )


def mean_dice(scores: Sequence[Score]) -> tuple[float | None, Interval | None]:
    """Return the mean over labels of their mean Dice over cases, and its interval."""
    parts: dict[str, list[tuple[str, float]]] = {}
    for score in scores:
        value = score.values.get("dice")
        if value is not None:
            parts.setdefault(score.label, []).append((score.unit, value))
    if not parts:
        return None, None
    mean = float(np.mean([np.mean([value for _, value in part]) for part in parts.values()]))
    return mean, interval_of_means([*parts.values()], 0, 1)


def interval_of_mean(values: Valued, low: float, high: float) -> Interval | None:
    """Return the 95 % interval of the mean of values from `low` to `high`; None for fewer than two groups."""
    return interval_of_means([values], low, high)


def interval_of_means(parts: Sequence[Valued], low: float, high: float) -> Interval | None:
    """Return the 95 % interval of the mean of the means of several parts, whose groups may be the same."""
    groups = sorted({group for part in parts for group, _ in part})
    if len(groups) < 2:
        return None
    sums, counts = _by_group(parts, groups)
    few = len(groups) < BOOTSTRAP_FROM
    bounds = _t_bounds(sums, counts) if few else _bootstrap_bounds(sums, counts)
    lowest, highest = (min(max(bound, low), high) for bound in bounds)
    return Interval(lowest, highest, "t" if few else "bootstrap", len(groups))


def standard_error(values: Valued) -> float | None:
    """Return the standard error of a mean by the sums of groups; None for fewer than two groups."""
    groups = sorted({group for group, _ in values})
    if len(groups) < 2:
        return None
    return _standard_error(*_by_group([values], groups))


def interval_over_seeds(values: Valued, seeds: Sequence[Sequence[float]]) -> Interval | None:
    """Return the 95 % interval of the mean of differences; None for fewer than two groups.

    Each entry of `seeds` has the means of one side's repeats with other seeds. Where a side has several, the
    variance of their mean is added to that of the groups, with degrees of freedom after Satterthwaite.
    """
    error = standard_error(values)
    if error is None:
        return None
    groups = len({group for group, _ in values})
    parts = [(error**2, groups - 1)]
    parts += [
        (float(np.var(means, ddof=1)) / len(means), len(means) - 1) for means in seeds if len(means) > 1
    ]
    if len(parts) == 1:
        return interval_of_mean(values, -np.inf, np.inf)
    mean, variance = float(np.mean([value for _, value in values])), sum(part for part, _ in parts)
    spread = sum(part**2 / freedom for part, freedom in parts)
    half = stats.t.ppf(0.975, variance**2 / spread) * np.sqrt(variance) if variance else 0.0
    return Interval(mean - float(half), mean + float(half), "t over groups and seeds", groups)


def strata(
    scores: Sequence[Score], by: str, value_of: Mapping[str, str], metrics: Sequence[Metric] = METRICS
) -> list[Stratum]:
    """Describe every label by the values of a column, given by case; cases without one are in no stratum."""
    found = []
    for label in labels_of(scores):
        parts: dict[str, list[Score]] = {}
        for score in scores:
            if score.label == label and score.case in value_of:
                parts.setdefault(value_of[score.case], []).append(score)
        found += [_stratum(by, value, label, parts[value], metrics) for value in sorted(parts)]
    return found


def size_strata(scores: Sequence[Score], metrics: Sequence[Metric] = METRICS) -> list[Stratum]:
    """Describe every label that nine cases or more have by thirds of its reference volume."""
    found = []
    for label in labels_of(scores):
        own = sorted(
            (score for score in scores if score.label == label and score.reference_mm3 > 0),
            key=lambda score: score.reference_mm3,
        )
        if len(own) < 3 * _LEAST_STRATUM or own[0].reference_mm3 == own[-1].reference_mm3:
            continue
        thirds = [own[len(own) * third // 3 : len(own) * (third + 1) // 3] for third in range(3)]
        for name, third in zip(("small", "medium", "large"), thirds, strict=True):
            ends = (third[0].reference_mm3 / 1000, third[-1].reference_mm3 / 1000)
            found.append(
                _stratum("size", f"{name}, {ends[0]:.3g} to {ends[1]:.3g} ml", label, third, metrics)
            )
    return found


def _stratum(by: str, value: str, label: str, scores: Sequence[Score], metrics: Sequence[Metric]) -> Stratum:
    return Stratum(by, value, label, {metric.name: describe(scores, metric) for metric in metrics})


def _by_group(
    parts: Sequence[Valued], groups: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums and counts of values by (part, group)."""
    place = {group: index for index, group in enumerate(groups)}
    sums, counts = (np.zeros((len(parts), len(groups))) for _ in range(2))
    for row, part in enumerate(parts):
        for group, value in part:
            sums[row, place[group]] += value
            counts[row, place[group]] += 1
    return sums, counts


def _t_bounds(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of the parts' means, and t with one degree of freedom less than groups around it."""
    mean = float((sums.sum(axis=1) / counts.sum(axis=1)).mean())
    half = float(stats.t.ppf(0.975, sums.shape[1] - 1)) * _standard_error(sums, counts)
    return mean - half, mean + half


def _standard_error(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """That of the mean of the parts' means, by how far each group pulls it."""
    total = counts.sum(axis=1, keepdims=True)
    means = sums.sum(axis=1, keepdims=True) / total
    pulls = ((sums - means * counts) / total).mean(axis=0)
    groups = sums.shape[1]
    return float(np.sqrt(groups / (groups - 1) * (pulls**2).sum()))


def _bootstrap_bounds(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    """Percentiles of the mean of means over groups that are drawn with replacement."""
    groups = sums.shape[1]
    drawn = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), size=_RESAMPLES)
    with np.errstate(invalid="ignore"):  # a part of few groups may be in none of those drawn
        means = ((drawn @ sums.T) / (drawn @ counts.T)).mean(axis=1)
    low, high = np.nanpercentile(means, (2.5, 97.5))
    return float(low), float(high)
