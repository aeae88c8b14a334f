"""The layout under a budget: costs by hand, the best of all layouts, limits, and errors."""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.models.model import Shape
from app.models.network import list_convolutions
from app.models.unet import UNetModel
from app.operators import ConvSpec
from app.operators.supernet import SuperNet
from app.search.costs import Budget, CostModel, MacsCost, ParamsCost, Site, dense_total, total_cost
from app.search.decode import (
    KernelScores,
    assign_slots,
    best_under_budget,
    refuse_impossible_limit,
    top_counts,
)
from app.search.search import budget_share
from tests.support.planted import SETTINGS

LINE, PLANE, CUBE = (Kernel(size) for size in ((3, 1, 1), (1, 3, 3), (3, 3, 3)))


def site(name: str, channels: int, *kernels: Kernel, in_channels: int = 2) -> Site:
    return Site(ConvSpec(name, in_channels, channels, (3, 3, 3), (1, 1, 1), (4, 4, 4)), kernels)


def network_sites(kernels: str = "123d") -> tuple[Site, ...]:
    two = (2, 2, 2)
    shape = Shape(1, 3, (16, 32, 64), ((1, 1, 1), two, two), ((3, 3, 3),) * 3, (16, 16, 16))
    convolutions = list_convolutions(UNetModel("plain", 2, 2, True), shape)
    operator = SuperNet(kernels, "encoder", "sampled", "shared", 0.1).bind(convolutions)
    assert isinstance(operator, SuperNet)
    return tuple(Site(conv, operator.candidates(conv)) for conv in convolutions if operator.candidates(conv))


def random_scores(sites: Sequence[Site], seed: int) -> KernelScores:
    rng = np.random.default_rng(seed)
    return {one.conv.name: rng.normal(size=(len(one.kernels), one.conv.out_channels)) for one in sites}


def test_costs_by_hand() -> None:
    conv = ConvSpec("a", 5, 16, (3, 3, 3), (2, 1, 1), (7, 4, 4))
    assert ParamsCost().group(conv, PLANE, 8) == 5 * 8 * 9
    assert MacsCost().group(conv, PLANE, 8) == 5 * 8 * 9 * (4 * 4 * 4)
    sites = [Site(conv, (LINE, PLANE)), site("b", 4, LINE)]
    assert dense_total(sites, ParamsCost()) == 5 * 16 * 27 + 2 * 4 * 27
    counts = {"a": {LINE: 4, PLANE: 12}, "b": {LINE: 4}}
    assert total_cost(sites, counts, ParamsCost()) == 5 * (4 * 3 + 12 * 9) + 2 * 4 * 3


def test_the_best_of_all_layouts_is_found() -> None:
    """The layout found is compared with every layout of two small layers."""
    sites = [site("a", 3, LINE, PLANE, CUBE), site("b", 2, LINE, CUBE, in_channels=3)]
    scores = random_scores(sites, 1)
    dense = dense_total(sites, ParamsCost())
    budget = (2 * (3 + 9 + 27) + 3 * (3 + 27)) / dense  # one of the few shares so small a network can have
    best = -math.inf
    for choice in itertools.product(*([range(3)] * 3 + [range(2)] * 2)):
        cost = sum(2 * sites[0].kernels[k].taps for k in choice[:3])
        cost += sum(3 * sites[1].kernels[k].taps for k in choice[3:])
        value = sum(scores["a"][k, slot] for slot, k in enumerate(choice[:3]))
        value += sum(scores["b"][k, slot] for slot, k in enumerate(choice[3:]))
        if 0.98 * budget <= cost / dense <= budget:
            best = max(best, value)
    decoded = best_under_budget(sites, scores, Budget(ParamsCost(), budget), align=1)
    assert decoded.gap == pytest.approx(0, abs=1e-3)
    value = 0.0
    for one in sites:
        kernels = assign_slots(one, decoded.counts[one.conv.name], scores[one.conv.name])
        value += sum(scores[one.conv.name][k, slot] for slot, k in enumerate(kernels))
    assert value == pytest.approx(best, rel=2e-3)


@pytest.mark.parametrize("costs", [ParamsCost(), MacsCost()], ids=["params", "macs"])
@pytest.mark.parametrize("budget", [0.15, 0.3, 0.6])
def test_the_budget_is_kept_and_used(costs: CostModel, budget: float) -> None:
    sites = network_sites()
    decoded = best_under_budget(sites, random_scores(sites, 0), Budget(costs, budget), align=1)
    assert total_cost(sites, decoded.counts, costs) == pytest.approx(
        decoded.share * dense_total(sites, costs)
    )
    assert 0.98 * budget <= decoded.share <= budget
    for one in sites:
        assert sum(decoded.counts[one.conv.name].values()) == one.conv.out_channels


@pytest.mark.e2e
def test_aligned_counts_are_multiples_except_for_one_rest() -> None:
    sites = (*network_sites("12d"), site("odd", 21, LINE, PLANE))
    decoded = best_under_budget(sites, random_scores(sites, 0), Budget(MacsCost(), 0.25), align=8)
    assert decoded.share <= 0.25
    for one in sites:
        odd = [n for n in decoded.counts[one.conv.name].values() if n % 8]
        assert odd == [] if one.conv.name != "odd" else len(odd) == 1 and odd[0] % 8 == 5


@pytest.mark.parametrize("linear", [True, False])
def test_no_second_group_takes_what_is_left_over(linear: bool) -> None:
    """24 channels in groups of 16, of which three groups of 8 would score best."""
    costs = ParamsCost()
    costs.linear = linear
    one = site("a", 24, LINE, PLANE, CUBE)
    scores = {"a": np.repeat(np.eye(3), 8, axis=1)}
    decoded = best_under_budget([one], scores, Budget(costs, 0.9), align=16)
    assert sorted(decoded.counts["a"].values()) == [8, 16]


def test_a_budget_that_whole_channels_cannot_use_up_is_no_error() -> None:
    """One channel of 3, 9 or 27 taps: between 9 and 27 there is no layout that comes near the budget."""
    one = site("a", 1, LINE, PLANE, CUBE)
    decoded = best_under_budget(
        [one], {"a": np.array([[0.0], [1.0], [2.0]])}, Budget(ParamsCost(), 0.7), align=1
    )
    assert decoded.counts == {"a": {PLANE: 1}} and decoded.share == pytest.approx(1 / 3)


def test_same_scores_same_layout_and_larger_scores_win() -> None:
    sites = network_sites("1d")
    scores = random_scores(sites, 3)
    budget = 1 / 9
    first, second = (best_under_budget(sites, scores, Budget(MacsCost(), budget), align=1) for _ in range(2))
    assert first == second
    liked = {name: values + 10 * (np.arange(3) == 1)[:, None] for name, values in scores.items()}
    decoded = best_under_budget(sites, liked, Budget(MacsCost(), budget), align=1)
    assert all(list(of) == [Kernel((1, 3, 1))] for of in decoded.counts.values())


def test_impossible_budgets_are_named_with_what_is_possible() -> None:
    sites = network_sites("12d")
    for budget in (0.05, 0.5):
        with pytest.raises(InputError, match=r"search\.budget") as error:
            best_under_budget(sites, random_scores(sites, 0), Budget(MacsCost(), budget), align=1)
        for token in (str(budget), "macs", "0.1112", "0.3401"):
            assert token in str(error.value)


def test_an_impossible_limit_is_named_and_a_wide_one_is_none() -> None:
    sites = network_sites("12d")
    refuse_impossible_limit(sites, Budget(ParamsCost(), 5.0))
    with pytest.raises(InputError, match=r"search\.limits\.params") as error:
        refuse_impossible_limit(sites, Budget(ParamsCost(), 0.05))
    for token in ("0.05", "0.1112"):
        assert token in str(error.value)


def test_top_counts_with_ties() -> None:
    one = site("a", 4, LINE, PLANE)
    scores = {"a": np.array([[3.0, 1.0, 1.0, 1.0], [2.0, 1.0, 0.0, 0.0]])}
    assert top_counts([one], scores) == {"a": {LINE: 3, PLANE: 1}}
    assert top_counts([one], {"a": np.ones((2, 4))}) == {"a": {LINE: 4}}


def test_slots_take_the_kernel_they_score_best_within_the_counts() -> None:
    one = site("a", 4, LINE, PLANE, CUBE)
    scores = np.array([[9.0, 5.0, 2.0, 0.0], [8.0, 0.0, 0.0, 0.0], [0.0, 0.0, -np.inf, 7.0]])
    assert assign_slots(one, {LINE: 2, PLANE: 1, CUBE: 1}, scores).tolist() == [1, 0, 0, 2]


def test_an_absolute_budget_leaves_the_rest_of_the_network_its_part() -> None:
    assert budget_share(0.3, searched=100, whole=150) == 0.3
    assert budget_share(80, searched=100, whole=150) == pytest.approx(0.3)


def test_impossible_settings_are_named() -> None:
    for changes, tokens in (
        (
            {"method": "best"},
            [r"search\.method\b", r"\bbest\b", r"\bevolve\b", r"\bgates\b", r"\bpaper_cost\b"],
        ),
        ({"cost": "joule"}, [r"search\.cost\b", r"\bjoule\b"]),
        ({"budget": 0.0}, [r"search\.budget\b", r"\b0\b"]),
        ({"cost": "latency", "align": 4}, [r"search\.align\b", r"\b4\b", r"\b8\b", r"\blatency\b"]),
        ({"align": 0}, [r"search\.align\b", r"\b0\b", r"\b1$"]),
        ({"strength": -1.0}, [r"search\.strength\b", r"-1\b"]),
        (
            {"method": "evolve", "limits": {"joule": 1.0}},
            [r"search\.limits\b", r"\bjoule\b", r"\bparams\b", r"\bmacs\b"],
        ),
        (
            {"method": "race", "limits": {"params": 0.3, "macs": 0.2}},
            [r"search\.limits\b", r"'macs'", r"search\.cost=macs\b", r"\bparams or latency\b"],
        ),
        ({"method": "evolve", "limits": {"params": -1.0}}, [r"search\.limits\.params\b", r"-1\b"]),
        (
            {"method": "race", "space": "levels", "where": ["encoder.0.0"]},
            [r"search\.space\b", r"\blevels\b", r"search\.where=.*\bencoder\.0\.0\b", r"\ball\b"],
        ),
        (
            {"limits": {"params": 0.3}},
            [r"search\.limits\b", r"search\.method\b", r"\bgates\b", r"\bevolve\b"],
        ),
    ):
        with pytest.raises(InputError) as error:
            replace(SETTINGS, **changes)
        for token in tokens:
            assert re.search(token, str(error.value)), (token, changes)
    assert (SETTINGS.aligned, replace(SETTINGS, cost="latency").aligned) == (1, 16)
