"""Paired differences, calculated by hand."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from app.core.errors import InputError
from app.core.sweep import Sweep, SweepJob
from app.metrics.score import Score
from app.report.compare.comparison import CaseMean, difference, holm
from app.report.compare.groups import compare
from app.report.draw.tradeoff import Point, draw_axes, front
from app.report.page.missing import baseline_absent
from app.report.read.runs import Run
from app.report.read.summary import Summary
from app.report.read.timings import RunTiming
from app.report.wording import scaled


@pytest.mark.parametrize("costs", [(1.037e9, 1.049e9), (22.0, 22.1), (0.3e6, 1.4e6), (1e6, 5e9), (7e8, 7e8)])
def test_ticks_of_costs_near_each_other_have_texts_of_their_own(costs: tuple[float, float]) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.scatter(costs, [0.87, 0.88])
    draw_axes(axes, "MACs per patch", costs)
    figure.canvas.draw()
    texts = [label.get_text() for label in axes.get_xticklabels()]
    assert len(texts) == len(set(texts)) > 1


def test_numbers_are_shortened_to_thousands() -> None:
    assert [scaled(value) for value in (0.5, 22.04, 999.6, 1_234_567, 1.0374e9)] == [
        *("0.5", "22", "1 k", "1.23 M", "1.04 G"),
    ]
    assert scaled(1.0374e9, 4) == "1.037 G"


def test_difference_is_over_shared_cases() -> None:
    ours = means({"a": 0.9, "b": 0.8, "c": 0.7, "mine": 0.0})
    found = difference(ours, means({"a": 0.8, "b": 0.6, "c": 0.7, "theirs": 1.0}))
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    half = 4.302653 * 0.1 / 3**0.5  # Student's t of two degrees of freedom; the spread of 0.1, 0.2 and 0
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half))
    assert (found.cases, found.groups, found.method, found.p) == (3, 3, "t", None)


def test_scans_of_one_patient_are_one_unit() -> None:
    ours = {("data", ("one",), str(n)): CaseMean(0.1 * (n // 2), str(n // 2)) for n in range(6)}
    found = difference(ours, {case: CaseMean(0.0, mean.group) for case, mean in ours.items()})
    alone = difference(means({"a": 0.0, "b": 0.1, "c": 0.2}), means(dict.fromkeys("abc", 0.0)))
    assert found is not None and alone is not None and (found.cases, found.groups) == (6, 3)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


def test_constant_difference_has_no_spread() -> None:
    cases = {str(number): number / 10 for number in range(8)}
    found = difference(means({case: value + 0.05 for case, value in cases.items()}), means(cases))
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((0.05, 0.05, 0.05))
    assert found.p == pytest.approx(2 / 2**8)  # all eight signs alike, two-sided


def test_holm_multiplies_by_what_is_left() -> None:
    assert holm([0.04, None, 0.01, 0.03]) == pytest.approx([0.06, None, 0.03, 0.06])


def test_front_has_the_points_that_no_other_beats() -> None:
    costs = ((1.0, 0.5), (2.0, 0.4), (3.0, 0.9), (3.0, 0.8), (4.0, 0.9))
    points = [Point(number, cost, dice, ()) for number, (cost, dice) in enumerate(costs)]
    assert [point.number for point in front(points)] == [0, 2]


def test_too_few_shared_cases_are_not_compared() -> None:
    assert difference(means({"a": 1.0}), means({"a": 0.5})) is None


def test_groups_average_over_labels_and_seeds() -> None:
    runs = [
        run("base+seed-0", {"a": (0.4, 0.6), "b": (0.2, 0.2)}),
        run("base+seed-1", {"a": (0.7, 0.7), "b": (0.4, 0.4)}),
        run("new+seed-0", {"a": (0.8, 0.8), "b": (0.5, None)}),
    ]
    found = compare(runs, sweep("base", "base", "new"))
    assert found is not None
    base, new = found.groups
    assert (base.name, len(base.runs), base.difference) == ("base", 2, None)
    assert new.difference is not None
    assert new.difference.mean == pytest.approx(((0.8 - 0.6) + (0.5 - 0.3)) / 2)
    assert found.of_run(runs[0]) is None
    assert found.of_run(runs[2]) == new.difference


def test_the_interval_has_the_variance_of_seeds() -> None:
    cases = {"a": 0.4, "b": 0.5, "c": 0.6}
    runs = [
        replace(
            run(f"{group}+seed-{seed}", {case: (dice + shift, dice + shift) for case, dice in cases.items()}),
            summary=Summary(seed=str(seed)),
        )
        for group, shift in (("base", 0.0), ("new", 0.1))
        for seed, shift in ((0, shift), (1, shift + 0.02))
    ]
    names = [SweepJob(run.name, run.name.split("+")[0], ()) for run in runs]
    found = compare(runs, Sweep("test", "base", tuple(names)))
    assert found is not None and found.groups[1].difference is not None
    less = found.groups[1].difference
    assert less.method == "t over groups and seeds" and less.mean == pytest.approx(0.1)
    # Cases do not differ; the two seeds of a side have a standard error of 0.01 and one degree of freedom.
    half = 4.302653 * math.sqrt(2 * 0.01**2)
    assert (less.low, less.high) == pytest.approx((0.1 - half, 0.1 + half))


@pytest.mark.parametrize(
    "task", [{"folder": "data/Task02"}, {"folder": "data/Task01", "regions": {"all": [1]}}]
)
def test_cases_of_other_data_or_with_other_targets_are_no_pairs(task: dict[str, Any]) -> None:
    """Cases of the same name are paired only if data set and targets are the same."""
    cases = {"a": (0.4, 0.6), "b": (0.2, 0.2), "c": (0.1, 0.3)}
    base = replace(run("base+seed-0", cases), config={"task": {"folder": "/other/data/Task01"}})
    again = replace(run("base+seed-1", cases), config={"task": {"folder": "data/Task01"}})
    dice = {"all": 0.5} if "regions" in task else {}
    new = replace(run("new+seed-0", cases), config={"task": task}, summary=Summary(dice=dice))
    found = compare([base, again, new], sweep("base", "base", "new"))
    assert found is not None and found.groups[1].difference is None
    same = compare([base, again, replace(base, folder=Path("new+seed-0"))], sweep("base", "base", "new"))
    assert same is not None and same.groups[1].difference is not None


def test_unknown_baseline_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"sweep\.baseline") as error:
        compare([run("base+seed-0", {"a": (1.0, 1.0)})], sweep("bas", "base", "new"))
    for name in ("bas", "base", "new"):
        assert re.search(rf"\b{name}\b", str(error.value))


def test_a_baseline_that_has_not_run_is_named() -> None:
    runs = [run(f"new+seed-{seed}", {"a": (0.4, 0.6), "b": (0.2, 0.2)}) for seed in (0, 1)]
    found = compare(runs, sweep("base", "base", "new"))
    assert found is not None and found.of_run(runs[0]) is None
    (remark,) = baseline_absent(found)
    assert re.search(r"\bbase\b", remark) and not re.search(r"\bnew\b", remark)
    assert baseline_absent(None) == baseline_absent(compare(runs, sweep("new", "base", "new"))) == []


def sweep(baseline: str, first: str, second: str) -> Sweep:
    names = ((f"{first}+seed-0", first), (f"{first}+seed-1", first), (f"{second}+seed-0", second))
    return Sweep("test", baseline, tuple(SweepJob(name, group, ()) for name, group in names))


def run(name: str, cases: dict[str, tuple[float | None, ...]]) -> Run:
    scores = tuple(
        Score(case, label, {"dice": dice}, 1.0, 1.0)
        for case, values in cases.items()
        for label, dice in zip(("one", "two"), values, strict=True)
    )
    nothing = dict.fromkeys(("config", "environment", "metrics", "split", "plan", "layout"))
    return Run(folder=Path(name), name=name, summary=Summary(), scores=scores, timing=RunTiming(), **nothing)


def means(dice: dict[str, float]) -> dict[Any, CaseMean]:
    return {("data", ("one",), case): CaseMean(value, case) for case, value in dice.items()}
