"""Guesses at losses from networks whose losses are known."""

import numpy as np

from app.core.kernel import Kernel
from app.core.layout import Layout
from app.search.guess import learn_guess
from app.search.race_record import RaceEntry
from tests.support.searching import KERNELS, small_space

SPACE = small_space()


def line_share(layout: Layout) -> float:
    """Return the mean share of lines along depth."""
    counts = layout.convolutions.values()
    return float(np.mean([of.get(Kernel((3, 1, 1)), 0) / sum(of.values()) for of in counts]))


def raced(numbers: range, scale: float) -> list[RaceEntry]:
    """Return networks whose loss falls with the share of lines, in noise."""
    layouts = [SPACE.random(number) for number in numbers]
    noise = np.random.default_rng(numbers.start).normal(0, 0.03, len(layouts))
    return [
        RaceEntry(number, layout, done=True, loss=scale * (1 - line_share(layout) + wrong))
        for number, layout, wrong in zip(numbers, layouts, noise, strict=True)
    ]


def test_networks_that_never_raced_are_ranked() -> None:
    guess = learn_guess([raced(range(20), 1.0), raced(range(20, 30), 0.1)])
    others = [SPACE.random(number) for number in range(100, 120)]
    found = np.corrcoef([guess(layout) for layout in others], [line_share(layout) for layout in others])
    assert found[0, 1] < -0.6
    worth = guess.worth(others[0])
    means = {kernel: np.mean([of[kernel] for of in worth.values()]) for kernel in KERNELS}
    assert means.pop("3x1x1") > max(means.values())


def test_without_enough_networks_all_are_alike() -> None:
    assert learn_guess([raced(range(3), 1.0)])(SPACE.random(5)) == 0.0
    unfinished = [RaceEntry(number, SPACE.random(number)) for number in range(6)]
    assert learn_guess([unfinished])(SPACE.random(5)) == 0.0
