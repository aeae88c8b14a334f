"""Guesses at losses from networks whose losses are known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from app.core.kernel import Kernel
from app.core.layout import Layout, Outline
from app.search.guess import Guess, _same_weights, learn_guess
from app.search.race_record import RaceEntry
from tests.support.searching import KERNELS, small_space

SPACE = small_space()


def line_share(layout: Layout) -> float:
    """Return the mean share of lines along depth."""
    counts = layout.convolutions.values()
    return float(np.mean([of.get(Kernel((3, 1, 1)), 0) / sum(of.values()) for of in counts]))


def raced(numbers: range, scale: float, noise: float = 0.03) -> list[RaceEntry]:
    """Return networks whose loss falls with the share of lines, in noise."""
    layouts = [SPACE.random(number) for number in numbers]
    errors = np.random.default_rng(numbers.start).normal(0, noise, len(layouts))
    return [
        RaceEntry(number, layout, done=True, loss=scale * (1 - line_share(layout) + wrong))
        for number, layout, wrong in zip(numbers, layouts, errors, strict=True)
    ]


def test_a_kernel_counts_where_it_is_and_all_over() -> None:
    """The root of four convolutions is 2; lines have shares of 1/4, 1, 0 and 3/4 in them."""
    line, plane = Kernel((3, 1, 1)), Kernel((1, 3, 3))
    outline = Outline((8, 16), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2, 0.5)
    counts = {"a": {line: 2, plane: 6}, "b": {line: 8}, "c": {plane: 16}, "d": {line: 12, plane: 4}}
    layout = Layout(counts, network=outline)
    weights = {"decoder": 2.0, "width 0 from below": 1.0, "a 3x1x1": 0.4, "3x1x1": 0.6}
    found = Guess(weights, {7: -0.2})
    predicted = 2 * -1 + 4 + 0.4 / 4 + 0.6 * (1 / 4 + 1 + 3 / 4) / 2
    assert found(layout) == pytest.approx(predicted)
    assert found.of(RaceEntry(7, layout, loss=0.5)) == pytest.approx(predicted - 0.2)
    worth = found.worth(layout)
    assert worth["a"] == pytest.approx({"3x1x1": math.exp(-0.35), "1x3x3": math.exp(0.35)})  # .7 and 0
    assert worth["b"] == pytest.approx({"3x1x1": math.exp(-0.15), "1x3x3": math.exp(0.15)})  # .3 and 0


@pytest.mark.e2e
def test_networks_that_never_raced_are_ranked() -> None:
    guess = learn_guess([raced(range(20), 1.0), raced(range(20, 30), 0.1)])
    others = [SPACE.random(number) for number in range(100, 120)]
    found = np.corrcoef([guess(layout) for layout in others], [line_share(layout) for layout in others])
    assert found[0, 1] < -0.6
    worth = guess.worth(others[0])
    means = {kernel: np.mean([of[kernel] for of in worth.values()]) for kernel in KERNELS}
    assert means.pop("3x1x1") > max(means.values())


def test_without_losses_that_differ_all_are_alike() -> None:
    alike = [replace(entry, loss=0.5) for entry in raced(range(3), 1.0)]
    assert learn_guess([alike, raced(range(1), 1.0)])(SPACE.random(5)) == 0.0
    unfinished = [RaceEntry(number, SPACE.random(number)) for number in range(6)]
    assert learn_guess([unfinished])(SPACE.random(5)) == 0.0


def test_estimates_of_networks_that_raced_lie_nearer_to_the_truth_than_their_losses() -> None:
    rung = raced(range(24), 1.0, noise=0.2)
    truth = np.array([1 - line_share(entry.layout) for entry in rung])
    guess = learn_guess([rung])
    found = np.corrcoef([guess.of(entry) for entry in rung], truth)[0, 1]
    assert found > np.corrcoef([entry.rank for entry in rung], truth)[0, 1]
    rung[3].loss = None
    assert guess.of(rung[3]) == float("inf")


def test_children_share_the_luck_of_first_weights_until_all_begin_again() -> None:
    first = [RaceEntry(number, SPACE.random(number)) for number in range(3)]
    second = [RaceEntry(2, first[2].layout, parent=2), RaceEntry(3, first[0].layout, parent=2)]
    last = [RaceEntry(number, first[0].layout) for number in (2, 3)]
    found = _same_weights([first, second, last], [*first, *second, *last])
    assert found.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_the_error_of_a_difference_is_about_that_of_the_estimates() -> None:
    """The true difference lies within one standard deviation in about two of three cases."""
    entries, rng = raced(range(12), 1.0), np.random.default_rng(0)
    truth = [1 - line_share(entry.layout) for entry in entries]
    within = list[bool]()
    for _ in range(12):
        rungs = [
            [replace(e, loss=t + rng.normal(0, 0.1)) for e, t in zip(entries, truth, strict=True)]
            for _ in range(2)
        ]
        guess, unit = learn_guess(rungs), float(np.std([entry.rank for entry in rungs[0]], ddof=1))
        for first in range(0, 12, 2):
            true = (truth[first] - truth[first + 1]) / unit
            found = guess.of(entries[first]) - guess.of(entries[first + 1])
            within.append(abs(found - true) < guess.error(entries[first], entries[first + 1]))
    assert 0.5 < np.mean(within) < 0.85
