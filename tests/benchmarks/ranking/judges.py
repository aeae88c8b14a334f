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

from app.core.layout import Layout, Outline
from app.models.network import NetworkSpec
from app.search.guess import learn_guess
from app.search.inherit import inherit
from app.search.penalty import super_convolutions
from app.search.race_record import RaceEntry
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
    return [bench.loss_on(_chosen(network, spec, one), batches) for one in candidates]


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


def race(bench: Bench, candidates: Sequence[Candidate]) -> list[float]:
    """Estimated loss of each layout after a race as `search.method=race` runs one, but without children.

    In each of three rungs the better half continues for twice as many steps; the finalists are then trained
    once more, from new weights. The estimates come from all these losses.
    """
    networks = {one.number: bench.fresh(one.spec(bench.dense), _SEED) for one in candidates}
    entries = {one.number: RaceEntry(one.number, _outlined(bench, one)) for one in candidates}
    steps, rungs = max(1, bench.asked.short_steps // 4), list[list[RaceEntry]]()
    for seed in range(_SEED, _SEED + _RUNGS):
        for number, network in networks.items():
            networks[number] = bench.fit(network, bench.teaching, steps=steps, seed=seed)
            entries[number] = replace(entries[number], loss=bench.loss(networks[number], bench.judging))
        rungs.append([entries[number] for number in networks])
        best = sorted(networks, key=lambda number: entries[number].rank)
        networks = {number: networks[number] for number in best[: (len(best) + 1) // 2]}
        entries = {number: replace(entry, parent=number) for number, entry in entries.items()}
        steps *= 2
    specs, again = {one.number: one.spec(bench.dense) for one in candidates}, []
    for entry in rungs[-1]:
        network = bench.fresh(specs[entry.number], _SEED + 1)
        network = bench.fit(network, bench.teaching, steps=steps // 2, seed=_SEED + _RUNGS)
        again.append(RaceEntry(entry.number, entry.layout, loss=bench.loss(network, bench.judging)))
    guess = learn_guess([*rungs, again])
    return [guess.of(entry) for entry in rungs[0]]


JUDGES: dict[str, Judge] = {
    "super-network, as evolve": as_evolve,
    "super-network": partial(super_network, weights="shared"),
    "super-network, separate weights": partial(super_network, weights="separate"),
    "short training": alone,
    "short training, inherited weights": inherited,
    "race": race,
}
WEIGHTS: dict[str, str] = {
    "super-network, as evolve": "shared",
    "super-network": "shared",
    "super-network, separate weights": "separate",
    "short training, inherited weights": "shared",
}
"""The super-network that a judge uses; it has one width a level, so it cannot judge layouts of others."""


def _outlined(bench: Bench, one: Candidate) -> Layout:
    """The layout with the levels of its network, as a race knows it."""
    shape, model = bench.dense.shape, bench.dense.model
    decoder = getattr(model, "decoder_width", 1.0)
    return replace(one.layout, network=Outline(one.widths, shape.strides, shape.kernels, decoder))


def _trained(bench: Bench, network: nn.Module) -> float:
    fitted = bench.fit(network, bench.teaching, steps=bench.asked.short_steps, seed=_SEED)
    return bench.loss(fitted, bench.judging)


def _chosen(network: nn.Module, spec: NetworkSpec, one: Candidate) -> nn.Module:
    """A copy of the super-network with the kernels of a layout."""
    kept = copy.deepcopy(network).eval()
    with torch.no_grad():
        choose(kept, searched_sites(spec), one.choice)
    return kept
