"""Statistics of scores against values known by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from app.metrics.metric import METRICS
from app.metrics.score import Score
from app.metrics.statistics import (
    BOOTSTRAP_FROM,
    describe_scores,
    interval_of_mean,
    interval_of_means,
    mean_dice,
    presence,
    size_strata,
    strata,
)

DICE, HD95 = METRICS[:2]
VOLUME_ERROR = next(metric for metric in METRICS if metric.name == "volume_error")


def score(
    case: str, dice: float | None, *, label: str = "one", group: str | None = None, **more: float
) -> Score:
    values = {"dice": dice} | {name: value for name, value in more.items() if not name.endswith("mm3")}
    return Score(case, label, values, more.get("volume_mm3", 1.0), more.get("reference_mm3", 1.0), group)


def test_what_is_reported_of_a_metric() -> None:
    found = describe_scores(
        [score(name, dice) for name, dice in zip("abcde", (0.5, 0.9, None, 0.8, 1.0), strict=True)], DICE
    )
    assert (found.n, found.undefined) == (4, 1)
    assert found.mean == pytest.approx(0.8) and found.sd == pytest.approx(
        np.std([0.5, 0.9, 0.8, 1.0], ddof=1)
    )
    assert (found.lower_quartile, found.median) == (pytest.approx(0.725), pytest.approx(0.85))
    assert (found.worst_case, found.worst) == ("a", 0.5)
    nothing = describe_scores([score("a", None)], DICE)
    assert (nothing.n, nothing.undefined, nothing.mean, nothing.interval) == (0, 1, None, None)


def test_the_worst_case_is_the_far_end_of_each_metric() -> None:
    scores = [score("a", 1.0, hd95_mm=3.0, volume_error=0.2), score("b", 0.9, hd95_mm=9.0, volume_error=-0.4)]
    assert [describe_scores(scores, metric).worst_case for metric in (DICE, HD95, VOLUME_ERROR)] == ["b"] * 3


def test_few_groups_have_a_t_interval_that_stays_inside_the_metric() -> None:
    values = [0.7, 0.8, 0.85, 0.9, 0.95]
    found = interval_of_mean([(str(value), value) for value in values], 0, 1)
    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert found is not None and (found.low, found.high) == pytest.approx(expected)
    assert (found.method, found.groups) == ("t", 5)
    wide = interval_of_mean([("a", 0.2), ("b", 0.9)], 0, 1)
    assert wide is not None and (wide.low, wide.high) == (0, 1)
    assert interval_of_mean([("a", 0.2), ("a", 0.9)], 0, 1) is None


def test_cases_of_one_patient_count_as_one_unit() -> None:
    pairs = [(f"{patient}", value) for patient, value in enumerate((0.7, 0.8, 0.9)) for _ in range(4)]
    together = interval_of_mean(pairs, 0, 1)
    once = interval_of_mean([(str(patient), value) for patient, value in enumerate((0.7, 0.8, 0.9))], 0, 1)
    assert together is not None and once is not None
    assert (together.low, together.high) == pytest.approx((once.low, once.high)) and together.groups == 3


def test_many_groups_have_a_bootstrap_that_draws_groups() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, BOOTSTRAP_FROM)
    found = interval_of_mean([(str(index), value) for index, value in enumerate(values)], 0, 1)
    assert found is not None and found.method == "bootstrap" and found.groups == BOOTSTRAP_FROM
    expected = stats.norm.interval(0.95, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.006)


def test_the_mean_over_labels_and_its_interval() -> None:
    scores = [score("a", 0.8), score("b", 0.6), score("a", 0.9, label="two"), score("b", 0.8, label="two")]
    mean, found = mean_dice(scores)
    assert mean == pytest.approx(0.775) and found is not None and found.groups == 2
    # By hand: a and b pull the mean of the first label by .05 and -.05, that of the second by half as much.
    half = stats.t.ppf(0.975, 1) * np.sqrt(2 * 2 * 0.0375**2)
    whole = interval_of_means([[("a", 0.8), ("b", 0.6)], [("a", 0.9), ("b", 0.8)]], -9, 9)
    assert whole is not None and whole.high - whole.low == pytest.approx(2 * half)
    assert mean_dice([]) == (None, None)


@pytest.mark.parametrize("groups", [5, BOOTSTRAP_FROM + 10])
def test_label_of_one_group_leaves_the_mean_over_labels_without_interval(groups: int) -> None:
    common = [score(str(case), 0.9 + case / 1000) for case in range(groups)]
    mean, found = mean_dice([*common, score("0", 0.2, label="rare"), score("1", None, label="rare")])
    assert mean is not None and found is None and mean_dice(common)[1] is not None


def test_labels_of_all_groups_have_the_interval_of_the_groups_means() -> None:
    table = np.random.default_rng(0).normal(0.5, 0.1, (3, 6))
    found = interval_of_means([[(str(g), value) for g, value in enumerate(row)] for row in table], -9, 9)
    own = interval_of_mean([(str(g), value) for g, value in enumerate(table.mean(axis=0))], -9, 9)
    assert found is not None and own is not None
    assert (found.low, found.high) == pytest.approx((own.low, own.high))


def test_labels_of_different_groups_have_the_interval_of_welch() -> None:
    generator = np.random.default_rng(1)
    one, other = generator.normal(0.8, 0.02, 8), generator.normal(0.5, 0.2, 4)
    found = interval_of_means(
        [[(f"{name}{g}", x) for g, x in enumerate(part)] for name, part in (("a", one), ("b", other))], -9, 9
    )
    sums = stats.ttest_ind(one, -other, equal_var=False).confidence_interval()
    assert found is not None and (found.low, found.high) == pytest.approx((sums.low / 2, sums.high / 2))


@pytest.mark.parametrize("groups", [40, BOOTSTRAP_FROM + 10])
def test_interval_covers_the_mean_if_two_groups_have_a_label(groups: int) -> None:
    generator, covered = np.random.default_rng(0), 0
    for _ in range(200):
        common, rare = generator.normal(0.8, 0.05, groups), generator.normal(0.5, 0.2, 2)
        parts = [[(f"{g:02d}", x) for g, x in enumerate(part)] for part in (common, rare)]
        found = interval_of_means(parts, -9, 9)
        covered += found is not None and found.low <= 0.65 <= found.high
    assert covered > 175  # was 125 with g and the degrees of freedom of all groups together


def test_missed_labels_and_false_alarms_are_named() -> None:
    scores = [
        score("a", 0.9),
        score("b", 0.0, volume_mm3=0.0),
        score("c", None, reference_mm3=0.0),
        score("d", None, reference_mm3=0.0, volume_mm3=0.0),
    ]
    found = presence(scores)
    assert (found.cases, found.found, found.absent) == (4, 1, 1)
    assert (found.reference, found.without) == (2, 2)
    assert (found.missed, found.false_alarms) == (("b",), ("c",))


def test_strata_by_a_column_and_by_size() -> None:
    scores = [score(str(index), index / 10, reference_mm3=1000.0 * index) for index in range(1, 10)]
    by_site = strata(scores, "site", {str(index): "north" if index < 4 else "south" for index in range(1, 9)})
    assert [(one.value, one.metrics["dice"].n) for one in by_site] == [("north", 3), ("south", 5)]
    by_size = size_strata(scores)
    assert [one.value for one in by_size] == ["small, 1 to 3 ml", "medium, 4 to 6 ml", "large, 7 to 9 ml"]
    assert [one.metrics["dice"].mean for one in by_size] == pytest.approx([0.2, 0.5, 0.8])
    assert size_strata(scores[:8]) == []
