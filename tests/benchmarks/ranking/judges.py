"""Ways to foretell which layout trains best, each a function of the bench and the layouts.

A judge returns a loss, or a place, for each layout: less is better. It may use the training cases, not those
held out. To add one, write a function and name it in `JUDGES`; if it uses a super-network, in `WEIGHTS` too.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from app.models.network import NetworkSpec
from app.search.inherit import inherit
from app.search.penalty import super_convolutions
from app.search.search import choose, searched_sites
from tests.benchmarks.ranking.bench import Bench
from tests.benchmarks.ranking.layouts import Candidate

Judge = Callable[[Bench, Sequence[Candidate]], list[float]]
_SEED = 1000  # of the trainings of judges: none of those of the layouts
_RUNGS = 3
_EVOLVES_BATCHES = 3  # as search.method=evolve judges


def as_evolve(bench: Bench, candidates: Sequence[Candidate]) -> list[float]:
    """Loss of the super-network with each layout, on three batches as training sees them."""
    spec, network = bench.super_network("shared")
    source = bench.batches(bench.teaching, replace(bench.recipe, seed=_SEED))
    batches = [source.batch(step) for step in range(_EVOLVES_BATCHES)]
    return [bench.mean_loss(_chosen(network, spec, one), batches) for one in candidates]


def super_network(bench: Bench, candidates: Sequence[Candidate], *, weights: str) -> list[float]:
    """Loss of the super-network with each layout, on cases that it was not trained on."""
    spec, network = bench.super_network(weights)
    return [bench.loss(_chosen(network, spec, one), bench.judging) for one in candidates]


def alone(bench: Bench, candidates: Sequence[Candidate]) -> list[float]:
    """Loss of a short training of each layout from fresh weights."""
    return [_trained(bench, bench.fresh(one.spec(bench.dense), _SEED)) for one in candidates]


def inherited(bench: Bench, candidates: Sequence[Candidate]) -> list[float]:
    """Loss of a short training of each layout that begins with the super-network's weights."""
    spec, source = bench.super_network("shared")
    sites = dict(zip(super_convolutions(source), searched_sites(spec), strict=True))
    losses = []
    for one in candidates:
        network = bench.fresh(one.spec(bench.dense), _SEED)
        inherit(network, _chosen(source, spec, one), sites, one.layout)
        losses.append(_trained(bench, network))
    return losses


def halving(bench: Bench, candidates: Sequence[Candidate]) -> list[float]:
    """Place of each layout in successive halving, as `search.method=race` does: 0 is the best.

    In each of three rungs the better half goes on, for twice as many steps.
    """
    networks = {one.number: bench.fresh(one.spec(bench.dense), _SEED) for one in candidates}
    steps, order = max(1, bench.asked.short_steps // 4), list[int]()
    for rung in range(_RUNGS):
        losses = {}
        for number, network in networks.items():
            networks[number] = bench.fit(network, bench.teaching, steps=steps, seed=_SEED + rung)
            losses[number] = bench.loss(networks[number], bench.judging)
        best = sorted(losses, key=lambda number: losses[number])
        order = [*best, *order[len(best) :]]  # those out before stay behind
        networks = {number: networks[number] for number in best[: (len(best) + 1) // 2]}
        steps *= 2
    return [float(order.index(one.number)) for one in candidates]


JUDGES: dict[str, Judge] = {
    "super-network, as evolve": as_evolve,
    "super-network": partial(super_network, weights="shared"),
    "super-network, separate weights": partial(super_network, weights="separate"),
    "short training": alone,
    "short training, inherited weights": inherited,
    "successive halving, as race": halving,
}
WEIGHTS: dict[str, str] = {
    "super-network, as evolve": "shared",
    "super-network": "shared",
    "super-network, separate weights": "separate",
    "short training, inherited weights": "shared",
}
"""The super-network that a judge uses; it has one width a level, so it cannot judge layouts of others."""


def _trained(bench: Bench, network: nn.Module) -> float:
    fitted = bench.fit(network, bench.teaching, steps=bench.asked.short_steps, seed=_SEED)
    return bench.loss(fitted, bench.judging)


def _chosen(network: nn.Module, spec: NetworkSpec, one: Candidate) -> nn.Module:
    """A copy of the super-network with the kernels of a layout."""
    kept = copy.deepcopy(network).eval()
    with torch.no_grad():
        choose(kept, searched_sites(spec), one.choice)
    return kept
