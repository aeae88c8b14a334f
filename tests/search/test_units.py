"""Channels in whole units, and moves of units between kernels."""

from collections import Counter

import numpy as np
import pytest

from app.core.kernel import Kernel
from app.core.layout import Layout
from app.operators.operator import ConvSpec
from app.search.costs import Site
from app.search.units import Turn, counts_of, moved, shares_of

LINES, PLANES = ("3x1x1", "1x3x1", "1x1x3"), ("3x3x1", "3x1x3", "1x3x3")


def site(*kernels: str, unit: int = 1) -> Site:
    conv = ConvSpec("a", 8, 24, (3, 3, 3), (1, 1, 1))
    return Site(conv, tuple(Kernel.parse(kernel) for kernel in kernels), unit)


def after(turned: Site, start: str, *, larger: bool, nested: bool = True) -> set[str]:
    """Return the kernels that one unit of a convolution with one kernel can take."""
    layout = Layout({"a": {Kernel.parse(start): 24}})
    turns = [Turn(turned, draw, nested) for draw in np.linspace(0, 1, 12, endpoint=False)]
    moves = [moved(layout, [turn], larger=larger).convolutions["a"] for turn in turns]
    return {str(kernel) for counts in moves for kernel, count in counts.items() if count == turned.unit}


def test_a_larger_kernel_keeps_all_taps_and_a_smaller_one_adds_none() -> None:
    every = site(*LINES, *PLANES, "3x3x3", unit=4)
    assert after(every, "3x1x1", larger=True) == {"3x3x1", "3x1x3"}
    assert after(every, "1x3x3", larger=True) == {"3x3x3"}
    assert after(every, "3x1x3", larger=False) == {"3x1x1", "1x1x3"}
    assert after(every, "3x3x3", larger=True) == set()
    dilated = site("1x1x3", "1x1x3d2", "1x1x5", "1x3x3d2", unit=4)
    assert after(dilated, "1x1x3d2", larger=True) == {"1x1x5"}
    assert after(dilated, "1x3x3d2", larger=False) == {"1x1x3d2"}


def test_kernels_that_none_contains_are_left_only_if_they_must() -> None:
    apart = site("3x1x1", "1x3x3", unit=4)
    assert after(apart, "3x1x1", larger=True) == set()
    assert after(apart, "3x1x1", larger=True, nested=False) == {"1x3x3"}


def test_all_units_are_as_likely_to_move() -> None:
    every = site("3x1x1", "1x3x1", "3x3x1", "1x3x3", unit=4)
    layout = Layout({"a": {Kernel.parse("3x1x1"): 16, Kernel.parse("1x3x1"): 8}})
    draws = (np.arange(60) + 0.5) / 60
    results = [
        moved(layout, [Turn(every, draw, nested=True)], larger=True).convolutions["a"] for draw in draws
    ]
    gone = Counter("3x1x1" if counts[Kernel.parse("3x1x1")] == 12 else "1x3x1" for counts in results)
    assert gone == {"3x1x1": 40, "1x3x1": 20}


@pytest.mark.parametrize("unit", [1, 3, 8])
def test_equal_shares_are_equal_over_convolutions(unit: int) -> None:
    """Seven convolutions, seven kernels: without turns, the first kernels would gain in each of them."""
    every = site(*LINES, *PLANES, "3x3x3", unit=unit)
    total = Counter[Kernel]()
    for turn in range(7):
        total.update(counts_of(every, np.full(7, 1 / 7), turn))
    assert set(total.values()) == {24}


@pytest.mark.parametrize(("unit", "wanted"), [(4, [12, 8, 4]), (5, [14, 5, 5])])
def test_the_share_that_is_cut_most_gains_a_unit(unit: int, wanted: list[int]) -> None:
    """24 channels are 3, 1.8 and 1.2 units of 4; or 2, 1.2 and .8 units of 5, with 4 channels left over."""
    counts = counts_of(site(*LINES, unit=unit), np.array([0.5, 0.3, 0.2]))
    assert list(counts.values()) == wanted


def test_shares_are_those_of_the_layout_or_equal() -> None:
    layout = Layout({"a": {Kernel.parse("3x1x1"): 18, Kernel.parse("1x3x1"): 6}})
    assert shares_of(site(*LINES), layout).tolist() == [0.75, 0.25, 0.0]
    assert shares_of(site(*LINES), Layout({})).tolist() == [1 / 3] * 3
