"""Evolution where the best layout is known."""

from dataclasses import replace

import numpy as np
import pytest
from planted import SETTINGS, convolutions, planted_search

from app.core.errors import InputError
from app.ops.vocabulary import vocabulary
from app.search.costs import MacsCost, Site, dense_total
from app.search.evolve import Choice, Evolution, even_chances
from app.search.search import choose, sites_to_modules


def evolution(budget: float, unit: int = 2) -> Evolution:
    """Two convolutions of 16 channels in units, lines and planes to choose from."""
    kernels = vocabulary("12d", "")
    sites = [Site(conv, kernels) for conv in convolutions()]
    units = {site.conv.name: [unit] * (16 // unit) for site in sites}
    chances = {site.conv.name: np.full(len(kernels), 1 / len(kernels)) for site in sites}
    return Evolution(sites, units, chances, MacsCost(), budget)


def test_the_best_choice_is_all_but_found_under_the_budget() -> None:
    """Judged by how many units have the line along D; chance gives a sixth of 16."""
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

    def judge(choice: Choice) -> float:
        shares.append(one.decoded(choice).share)
        return float(choice["encoder.0.0"].sum())

    first = one.run(judge, trials=60, seed=3)
    assert len(shares) == 60 and max(shares) <= 0.25
    second = one.run(judge, trials=60, seed=3)
    assert first[1] == second[1]


def test_a_budget_that_no_layout_meets_is_refused() -> None:
    with pytest.raises(InputError, match=r"search\.budget: no layout"):
        evolution(0.05).run(lambda choice: 0.0, trials=1, seed=0)


def test_a_choice_is_what_the_super_network_computes() -> None:
    search, network = planted_search(SETTINGS, 0.25)
    choice = {site.conv.name: np.arange(16) % len(site.kernels) for site in search.sites}
    choose(network, search.sites, choice)
    for site, part in sites_to_modules(network, search.sites).items():
        assert part.scores().argmax(dim=0).tolist() == choice[site.conv.name].tolist()


def test_even_chances_cost_the_budget_and_leave_cheap_layers_their_choice() -> None:
    dear, cheap = convolutions()[1], replace(convolutions()[1], name="cheap", size=(3, 3, 3))
    sites = [Site(conv, vocabulary("123d", "")) for conv in (dear, cheap)]
    chances = even_chances(sites, MacsCost(), 0.2)
    dense = dense_total(sites, MacsCost())
    mean = sum(
        chances[site.conv.name] @ [MacsCost().group(site.conv, kernel, 16) for kernel in site.kernels]
        for site in sites
    )
    assert mean / dense == pytest.approx(0.2, abs=1e-6)
    assert chances["cheap"][-1] > 0.13
    assert chances[dear.name][-1] < 0.05
