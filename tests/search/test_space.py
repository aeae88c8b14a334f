"""Networks drawn, bred and fitted to a budget."""

from dataclasses import replace

import numpy as np
import pytest

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.core.layout import Layout
from app.search.pricing import laid_out_network, outline_of
from app.search.space import LEAST_SPENT, variants
from tests.support.searching import DENSE, PATCH, small_space

WHOLE = DENSE.cost(PATCH)


def spent(layout: Layout) -> tuple[float, float]:
    """Multiply-adds and weights of the network itself, as shares of the dense one's."""
    cost = laid_out_network(DENSE, layout).cost(PATCH)
    return cost.macs / WHOLE.macs, cost.params / WHOLE.params


def test_all_that_begin_a_race_use_up_the_budget_and_no_more() -> None:
    space = small_space(0.3)
    layouts = [space.first(number, seed=0) for number in range(6)]
    for layout in layouts:
        assert 0.3 * LEAST_SPENT <= spent(layout)[0] <= 0.3
    assert layouts[0].network is not None and layouts[0].network.strides == DENSE.shape.strides
    assert len({layout.network for layout in layouts}) > 3
    assert space.first(4, seed=0) == layouts[4] != space.first(4, seed=1)


def test_the_first_is_the_planned_network_with_lines_and_planes() -> None:
    space = small_space(0.3)
    first = space.first(0, seed=0)
    kernels = [(kernel, n) for counts in first.convolutions.values() for kernel, n in counts.items()]
    flat = sum(n for kernel, n in kernels if min(kernel.size) == 1 and kernel.dilation == 1)
    assert flat > 0.8 * sum(n for _, n in kernels)
    assert first.network is not None and first.network.strides == DENSE.shape.strides


def test_networks_of_odd_number_are_near_the_first() -> None:
    space = replace(small_space(0.3), outlines=(outline_of(DENSE),))

    def change(number: int) -> float:
        outlines = [space.first(one, seed=0).network for one in (0, number)]
        widths = [np.log2(outline.widths) for outline in outlines if outline is not None]
        return float(np.abs(widths[1] - widths[0]).sum())

    assert np.mean([change(number) for number in (3, 5, 7, 9)]) < np.mean(
        [change(number) for number in (4, 6, 8, 10)]
    )


def test_one_of_them_has_the_dense_kernel_alone() -> None:
    layout = small_space(0.6).first(2, seed=0)
    assert {kernel for counts in layout.convolutions.values() for kernel in counts} == {Kernel((3, 3, 3))}
    assert 0.8 * 0.6 < spent(layout)[0] <= 0.6


def test_where_even_the_narrowest_dense_network_exceeds_the_budget_a_random_one_begins() -> None:
    space = small_space(0.02)
    assert space.first(2, seed=0) == space.random(0, 2)


def test_widths_grow_until_no_level_fits() -> None:
    space, planned = small_space(0.3), outline_of(DENSE)
    for shares in (space._even(planned), space._flat(planned)):
        found = space._widest(planned, shares, np.random.default_rng(0))
        assert space._keeps(found, shares)
        for level in range(3):
            wider = [width + 8 * (level == place) for place, width in enumerate(found.widths)]
            assert not space._keeps(replace(found, widths=tuple(wider)), shares)


def test_limits_hold_too() -> None:
    layout = small_space(0.3, params=0.2).random(1)
    macs, params = spent(layout)
    assert macs <= 0.3 and params <= 0.2 and max(macs / 0.3, params / 0.2) > 0.9


def test_a_child_keeps_the_budget_and_takes_kernels_that_were_worth_more() -> None:
    space = small_space(0.3)
    parents = [space.random(seed) for seed in (1, 2)]
    name, best = "encoder.0.1", "5x1x1"
    worth = {name: {"1x3x3": 0.1, "3x1x1": 0.1, "3x3x3": 0.1, best: 4.0, "1x3x3d2": 0.1}}
    children = [space.child(parents, worth, seed) for seed in range(8)]
    for child in children:
        assert 0.3 * LEAST_SPENT <= spent(child)[0] <= 0.3
        assert child.network is not None and parents[0].network is not None
        assert child.network.strides == parents[0].network.strides

    def share(layout: Layout) -> float:
        counts = layout.convolutions[name]
        return counts.get(Kernel((5, 1, 1)), 0) / sum(counts.values())

    assert max(share(child) for child in children) > 0.7
    assert np.mean([share(child) for child in children]) > share(parents[0])
    assert space.child(parents, worth, 3) == children[3]


def test_where_kernels_alone_are_searched_levels_stay_as_planned() -> None:
    space = small_space(0.4, free=False)
    for layout in (space.first(0, 0), space.random(5), space.child([space.random(5)] * 2, {}, 1)):
        assert layout.network == outline_of(DENSE)
        assert 0.4 * LEAST_SPENT <= spent(layout)[0] <= 0.4


def test_a_budget_below_all_networks_is_refused() -> None:
    with pytest.raises(InputError, match=r"search\.budget.*[1-9]\d* times"):
        small_space(0.0001).random(0)


def test_levels_are_left_out_at_either_end() -> None:
    planned = outline_of(DENSE)
    assert [(each.widths, each.strides) for each in variants(planned)] == [
        ((16, 32, 64), ((1, 1, 1), (2, 2, 2), (2, 2, 2))),
        ((32, 64), ((2, 2, 2), (2, 2, 2))),
        ((16, 32), ((1, 1, 1), (2, 2, 2))),
    ]
    two = replace(planned, widths=(8, 16), strides=planned.strides[:2], kernels=planned.kernels[:2])
    assert variants(two) == (two,)
