"""Statistics of scores over cases, with confidence intervals of means.

The unit of analysis is the group (a patient), because cases of one group are correlated. For up to 49 groups,
the interval of a mean uses Student's t and the standard error of group sums, which has the right coverage for
few cases (El Jurdi et al., arXiv 2307.10926). From 50 groups on it is a bootstrap over whole groups. For a
mean over labels, the label that the fewest groups have decides which of the two is used.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from app.metrics.metric import METRICS, Metric
from app.metrics.score import Score

BOOTSTRAP_FROM = 50  # groups; with fewer, bootstrap intervals are too narrow
_RESAMPLES = 5000  # enough for bounds that are stable to three digits
_LEAST_STRATUM = 3  # cases

Valued = Sequence[tuple[str, float]]
"""Pairs of a group and a value."""


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval of a mean, with its method and number of groups."""

    low: float
    high: float
    method: str
    groups: int
    """For a mean over labels: the groups of the label that the fewest groups have."""


@dataclass(frozen=True)
class Statistics:
    """The statistics of one metric and label over cases; cases without a value are only in `undefined`."""

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
    """The presence of a label: number of cases by status, and names of missed and false-alarm cases."""

    cases: int
    found: int
    absent: int
    missed: tuple[str, ...]
    false_alarms: tuple[str, ...]

    @property
    def reference(self) -> int:
        """Number of cases whose reference has the label."""
        return self.found + len(self.missed)

    @property
    def without(self) -> int:
        """Number of cases whose reference lacks the label."""
        return self.absent + len(self.false_alarms)


@dataclass(frozen=True)
class Stratum:
    """A stratum: cases with one value of a column, or one size of a label, and their statistics by metric."""

    by: str
    value: str
    label: str
    metrics: Mapping[str, Statistics]


def labels_of(scores: Iterable[Score]) -> list[str]:
    """Return the labels in the order in which scores first have them."""
    return list(dict.fromkeys(score.label for score in scores))


def describe_scores(scores: Sequence[Score], metric: Metric) -> Statistics:
    """Return the statistics of a metric over the scores of one label."""
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
    """Return the statistics of every metric, by metric name and by the labels scored by it."""
    by_label = {label: [score for score in scores if score.label == label] for label in labels_of(scores)}
    return {
        metric.name: found
        for metric in METRICS
        if (
            found := {
                label: describe_scores(own, metric) for label, own in by_label.items() if _has(own, metric)
            }
        )
    }


def _has(scores: Sequence[Score], metric: Metric) -> bool:
    return any(metric.name in score.values for score in scores)


def presence(scores: Sequence[Score]) -> Presence:
    """Count the scores of one label by their status."""
    return Presence(
        cases=len(scores),
        found=sum(score.status == "found" for score in scores),
        absent=sum(score.status == "absent" for score in scores),
        missed=tuple(score.case for score in scores if score.status == "missed"),
        false_alarms=tuple(score.case for score in scores if score.status == "false alarm"),
    )


def mean_dice(scores: Sequence[Score]) -> tuple[float | None, Interval | None]:
    """Return the mean over labels of each label's mean Dice over cases, and its interval."""
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
    """Return the 95 % interval of the mean, cut to [`low`, `high`]; None for fewer than two groups."""
    return interval_of_means([values], low, high)


def interval_of_means(parts: Sequence[Valued], low: float, high: float) -> Interval | None:
    """Return the 95 % interval of the mean over parts of each part's mean.

    Parts may share groups. The bounds are cut to [`low`, `high`]. The interval is None if a part has fewer
    than two groups, because the variance of its mean is then unknown.
    """
    groups = sorted({group for part in parts for group, _ in part})
    sums, counts = _by_group(parts, groups)
    fewest = int((counts > 0).sum(axis=1).min())
    if fewest < 2:
        return None
    few = fewest < BOOTSTRAP_FROM
    bounds = _t_bounds(sums, counts) if few else _bootstrap_bounds(sums, counts)
    lowest, highest = (min(max(bound, low), high) for bound in bounds)
    return Interval(lowest, highest, "t" if few else "bootstrap", fewest)


def standard_error(values: Valued) -> float | None:
    """Return the standard error of the mean, from the sums of groups; None for fewer than two groups."""
    groups = sorted({group for group, _ in values})
    if len(groups) < 2:
        return None
    return float(np.sqrt((_pulls(*_by_group([values], groups)) ** 2).sum()))


def interval_over_seeds(values: Valued, seeds: Sequence[Sequence[float]]) -> Interval | None:
    """Return the 95 % interval of the mean of differences; None for fewer than two groups.

    Each entry of `seeds` has the means of one side of the comparison, one per seed. If a side has several
    seeds, the variance of their mean is added to that of the groups, with Satterthwaite's degrees of freedom.
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


def strata(scores: Sequence[Score], by: str, value_of: Mapping[str, str]) -> list[Stratum]:
    """Return the statistics of every label for each value of a column.

    `by` is the column's name and `value_of` the value of each case; cases without a value are left out.
    """
    found = []
    for label in labels_of(scores):
        parts: dict[str, list[Score]] = {}
        for score in scores:
            if score.label == label and score.case in value_of:
                parts.setdefault(value_of[score.case], []).append(score)
        found += [_stratum(by, value, label, parts[value]) for value in sorted(parts)]
    return found


def size_strata(scores: Sequence[Score]) -> list[Stratum]:
    """Return the statistics of every label for thirds of its cases by reference volume.

    Labels that fewer than nine cases have, or that have one volume in all cases, are left out.
    """
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
            found.append(_stratum("size", f"{name}, {ends[0]:.3g} to {ends[1]:.3g} ml", label, third))
    return found


def _stratum(by: str, value: str, label: str, scores: Sequence[Score]) -> Stratum:
    return Stratum(by, value, label, {metric.name: describe_scores(scores, metric) for metric in METRICS})


def _by_group(
    parts: Sequence[Valued], groups: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums and counts of values by (part, group)."""
    place = {group: index for index, group in enumerate(groups)}
    sums, counts = (np.zeros((len(parts), len(groups))) for _ in range(2))
    for row, part in enumerate(parts):
        for group, value in part:
            sums[row, place[group]] += value
            counts[row, place[group]] += 1
    return sums, counts


def _t_bounds(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    """Return the t interval around the mean of the parts' means."""
    mean = float((sums.sum(axis=1) / counts.sum(axis=1)).mean())
    pulls = _pulls(sums, counts)
    variance = float((pulls.sum(axis=0) ** 2).sum())
    half = stats.t.ppf(0.975, _freedom(pulls, counts > 0)) * np.sqrt(variance) if variance else 0.0
    return mean - float(half), mean + float(half)


def _pulls(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each group moves the mean of the parts' means, by (part, group).

    For a part with g groups they are scaled by sqrt(g / (g - 1)): the sum of squares is then unbiased.
    """
    total = counts.sum(axis=1, keepdims=True)
    means = sums.sum(axis=1, keepdims=True) / total
    own = (counts > 0).sum(axis=1, keepdims=True)
    return np.asarray((sums - means * counts) / total * np.sqrt(own / (own - 1)) / len(sums))


def _freedom(pulls: NDArray[np.float64], has: NDArray[np.bool_]) -> float:
    """Return Satterthwaite's degrees of freedom of a variance that is summed over parts and groups.

    `has` says which part has which group. Parts with the same g groups have g - 1 together; the degrees of
    parts without a common group are those of Welch's t-test.
    """
    variances = (pulls**2).sum(axis=1)
    shared = has.astype(np.float64) @ has.T
    own = np.diag(shared)
    traces = shared - shared / own - shared / own[:, None] + shared**2 / np.outer(own, own)
    return float(variances.sum() ** 2 / (variances @ (traces / np.outer(own - 1, own - 1)) @ variances))


def _bootstrap_bounds(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    """Return percentiles of the mean of the parts' means over groups drawn with replacement."""
    groups = sums.shape[1]
    drawn = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), size=_RESAMPLES)
    means = ((drawn @ sums.T) / (drawn @ counts.T)).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
