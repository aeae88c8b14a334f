"""Evolution where the best layout is known."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.operators.operator import ConvSpec
from app.operators.vocabulary import vocabulary
from app.search.costs import Budget, CostModel, MacsCost, ParamsCost, Site, dense_total, slot_costs
from app.search.evolve import Evolution, UnitKernels, even_chances
from app.search.search import choose, sites_to_modules
from tests.support.planted import SETTINGS, convolutions, planted_search

pytestmark = pytest.mark.e2e


def evolution(share: float, unit: int = 2) -> Evolution:
    """Two convolutions of 16 channels in units, lines and planes to choose from."""
    kernels = vocabulary("12d", "")
    sites = [Site(conv, kernels, unit) for conv in convolutions()]
    chances = {site.conv.name: np.full(len(kernels), 1 / len(kernels)) for site in sites}
    return Evolution(sites, [Budget(MacsCost(), share)], chances)


def test_the_best_choice_is_all_but_found_under_the_budget() -> None:
    """The score is the number of units with the line along D; chance gives a sixth of 16."""
    found, judged = evolution(0.2).run(
        lambda choice: -float(sum((kernels == 0).sum() for kernels in choice.values())), trials=300, seed=0
    )
    assert sum((kernels == 0).sum() for kernels in found.values()) == -min(judged)
    assert -min(judged) >= 8 > 2 * -np.mean(judged[:24]) - 2
    decoded = evolution(0.2).decoded(found)
    assert 0.98 * 0.2 <= decoded.share <= 0.2
    assert [sum(of.values()) for of in decoded.counts.values()] == [16, 16]


def test_every_trial_meets_the_budget_and_the_same_seed_tries_the_same() -> None:
    one = evolution(0.25, unit=4)
    shares: list[float] = []

    def judge(choice: UnitKernels) -> float:
        shares.append(one.decoded(choice).share)
        return float(choice["encoder.0.0"].sum())

    first = one.run(judge, trials=60, seed=3)
    assert len(shares) == 60 and max(shares) <= 0.25
    second = one.run(judge, trials=60, seed=3)
    assert first[1] == second[1]


def test_a_budget_that_no_layout_meets_is_refused() -> None:
    with pytest.raises(InputError, match=r"search\.budget") as error:
        evolution(0.05).run(lambda choice: 0.0, trials=1, seed=0)
    assert "search.limits" in str(error.value)


class _StartedOneByOne:
    """A machine such as a GPU, on which each group of channels takes a millisecond, whatever its size."""

    unit = "latency"
    linear = False

    def group(self, conv: ConvSpec, kernel: Kernel, channels: int) -> float:
        return 1.0 if channels else 0.0


def test_where_a_second_kernel_in_a_layer_costs_too_much_layers_are_chosen_whole() -> None:
    sites = [Site(conv, vocabulary("12d", ""), unit=2) for conv in convolutions()]
    budgets = [Budget(_StartedOneByOne(), 1.0)]
    one = Evolution(sites, budgets, even_chances(sites, budgets))
    choice, judged = one.run(
        lambda choice: -float(sum(kernels.sum() for kernels in choice.values())), trials=80, seed=0
    )
    assert [set(kernels) for kernels in choice.values()] == [{5}, {5}] and len(judged) == 80
    assert one.decoded(choice).share == one.by_chance(seed=1).share == 1.0


def test_one_unit_alone_is_mutated_too() -> None:
    sites = [Site(convolutions()[0], vocabulary("12d", ""), unit=16)]
    one = Evolution(sites, [Budget(MacsCost(), 0.4)], {"encoder.0.0": np.full(6, 1 / 6)})
    choice, judged = one.run(lambda choice: -float(choice["encoder.0.0"].sum()), trials=40, seed=0)
    assert choice["encoder.0.0"].tolist() == [5] and len(judged) == 40


def test_a_choice_is_what_the_super_network_computes() -> None:
    search, network = planted_search(SETTINGS, 0.25)
    choice = {site.conv.name: np.arange(16) % len(site.kernels) for site in search.sites}
    choose(network, search.sites, choice)
    for site, part in sites_to_modules(network, search.sites).items():
        assert part.scores().argmax(dim=0).tolist() == choice[site.conv.name].tolist()


def two_sites() -> list[Site]:
    """Return two convolutions with equally many weights, one with a sixty-fourth of the multiply-adds."""
    costly, cheap = convolutions()[1], replace(convolutions()[1], name="cheap", size=(3, 3, 3))
    return [Site(conv, vocabulary("123d", "")) for conv in (costly, cheap)]


def mean_share(sites: list[Site], chances: Mapping[str, NDArray[np.float64]], costs: CostModel) -> float:
    """Return the mean share of the dense cost over layouts drawn by these chances."""
    means = [16 * chances[site.conv.name] @ slot_costs(site, costs) for site in sites]
    return float(sum(means)) / dense_total(sites, costs)


def test_even_chances_cost_the_budget_and_leave_cheap_layers_their_choice() -> None:
    sites = two_sites()
    chances = even_chances(sites, [Budget(MacsCost(), 0.2)])
    assert mean_share(sites, chances, MacsCost()) == pytest.approx(0.2, abs=1e-6)
    assert chances["cheap"][-1] > 0.13
    assert chances["encoder.0.1"][-1] < 0.05


def test_even_chances_keep_a_limit_and_ignore_one_that_is_kept_anyway() -> None:
    sites, budget = two_sites(), Budget(MacsCost(), 0.2)
    free = even_chances(sites, [budget])
    weights = mean_share(sites, free, ParamsCost())
    held = even_chances(sites, [budget, Budget(ParamsCost(), 0.9 * weights)])
    assert mean_share(sites, held, ParamsCost()) == pytest.approx(0.9 * weights, abs=1e-6)
    assert mean_share(sites, held, MacsCost()) == pytest.approx(0.2, abs=1e-6)
    loose = even_chances(sites, [budget, Budget(ParamsCost(), 1.1 * weights)])
    for name in free:
        assert loose[name] == pytest.approx(free[name], abs=1e-5)


def test_wide_and_impossible_budgets_get_the_costliest_and_the_cheapest_kernels() -> None:
    sites = two_sites()
    assert mean_share(sites, even_chances(sites, [Budget(MacsCost(), 2.0)]), MacsCost()) > 0.99
    assert mean_share(sites, even_chances(sites, [Budget(MacsCost(), 0.01)]), MacsCost()) < 0.112


def test_a_limit_holds_for_what_evolves_and_for_what_is_drawn() -> None:
    sites = [replace(site, unit=2) for site in two_sites()]
    budgets = [Budget(MacsCost(), 0.25), limit := Budget(ParamsCost(), 0.215)]
    free = Evolution(sites, budgets[:1], even_chances(sites, budgets[:1]))
    assert max(limit.spent(sites, free.by_chance(seed).counts) for seed in range(5)) > 0.215
    held = Evolution(sites, budgets, even_chances(sites, budgets))
    for seed in range(5):
        assert limit.spent(sites, held.by_chance(seed).counts) <= 0.215
    found, _ = held.run(lambda choice: -float(choice["cheap"].sum()), trials=60, seed=0)
    assert limit.spent(sites, held.counts(found)) <= 0.215
    assert held.by_chance(0) == held.by_chance(0) != held.by_chance(1)
