"""The best of many layouts, each evaluated on one trained super-network, found by mutation and selection.

Networks that share weights are compared by their loss on the same batches, as in single-path one-shot search
(Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV 2020). Parents and
removals follow regularised (aging) evolution (Real et al., AAAI 2019). Gates are scored one by one; here a
layout is evaluated as a whole, so the effect of two layers that leave out the same axis is measured too.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp, softmax

from app.core.errors import InputError
from app.core.progress import progress_bar
from app.search.costs import Budget, ChannelCounts, Site, dense_total, slot_costs
from app.search.decode import Decoded

_FIRST = 24  # layouts drawn at random; the population keeps this size
_CONTEST = 6  # random members of the population, of which the best is the parent
_MUTATED = 3  # units at most
_TRIES = 5000  # draws before giving up
_STEEPEST = 1e6  # largest rate
_RAREST = 1e-6  # least probability of a kernel before normalisation
_UNMET = "search.budget, search.limits: found no layout in whole units of channels that meets them"
# The least share of the budget to use, and whether whole layers take one kernel. The next way is tried if
# units are too coarse to come near the budget, or if a second kernel in a layer costs more milliseconds than
# it saves, as on a GPU, which starts each group of channels separately.
_WAYS = tuple((least, whole) for whole in (False, True) for least in (0.98, 0.9, 0.0))

UnitKernels = Mapping[str, NDArray[np.int64]]
"""Index of each unit's kernel, by convolution."""


def even_chances(sites: Sequence[Site], budgets: Sequence[Budget]) -> dict[str, NDArray[np.float64]]:
    """Return probabilities of the kernels, by convolution; a drawn layout costs the first budget on average.

    The other budgets are limits that are not exceeded on average. Of all such probabilities, these have the
    largest entropy: a slot's kernel is drawn with a weight of exp(-sum of rate * cost), with one rate per
    budget. Cheap layers choose nearly freely; expensive layers rarely choose an expensive kernel. The rates
    minimise the convex dual.
    """
    slots = [site.conv.out_channels for site in sites]
    dense = np.array([dense_total(sites, budget.costs) for budget in budgets])
    each = [[slot_costs(site, budget.costs) for budget in budgets] for site in sites]
    costs = [np.array(of_site) / dense[:, None] for of_site in each]  # (budgets, kernels) of each site
    scale = np.max([cost.max(axis=1) for cost in costs], axis=0)
    shares = np.array([budget.share for budget in budgets]) / scale
    costs = [cost / scale[:, None] for cost in costs]

    def dual(rates: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        each = list(zip(slots, costs, strict=True))
        value = shares @ rates + sum(n * logsumexp(-rates @ cost) for n, cost in each)
        return value, shares - sum(n * (cost @ softmax(-rates @ cost)) for n, cost in each)

    free, held = (-_STEEPEST, _STEEPEST), (0.0, _STEEPEST)  # a limit need not be used up
    bounds = [free, *[held] * (len(budgets) - 1)]
    rates = minimize(dual, np.zeros(len(budgets)), jac=True, bounds=bounds, options={"ftol": 0.0}).x
    raw = [np.exp(np.maximum(log_softmax(-rates @ cost), np.log(_RAREST))) for cost in costs]
    return {site.conv.name: values / values.sum() for site, values in zip(sites, raw, strict=True)}


@dataclass(frozen=True)
class Evolution:
    """An evolution of layouts: units of channels choose kernels, and the first budget is to be used up."""

    sites: Sequence[Site]
    budgets: Sequence[Budget]
    chances: Mapping[str, NDArray[np.float64]]
    """Probability of each kernel in a first or a mutated unit, by convolution."""

    def by_chance(self, seed: int) -> Decoded:
        """Return a random layout.

        Raises:
            InputError: no choice meets the budgets.
        """
        rng = np.random.default_rng(seed)
        return self.decoded(self._first(rng, _WAYS[0]))

    def run(
        self, judge: Callable[[UnitKernels], float], *, trials: int, seed: int
    ) -> tuple[UnitKernels, list[float]]:
        """Return the choice with the lowest value of `judge`, and the values of all trials in order.

        Raises:
            InputError: no choice meets the budgets.
        """
        rng = np.random.default_rng(seed)
        way = next((way for way in _WAYS if self._drawn(rng, way) is not None), None)
        if way is None:
            raise InputError(_UNMET)
        living: deque[tuple[float, UnitKernels]] = deque(maxlen=_FIRST)
        best: tuple[float, UnitKernels] | None = None
        judged = []
        with progress_bar("Trying layouts", trials) as advance:
            for number in range(trials):
                choice = self._first(rng, way) if number < _FIRST else self._child(rng, living, way)
                judged.append(judge(choice))
                living.append((judged[-1], choice))
                best = living[-1] if best is None or judged[-1] < best[0] else best
                advance(note=f"best loss {best[0]:.4f}")
        assert best is not None
        return best[1], judged

    def decoded(self, choice: UnitKernels) -> Decoded:
        """Return channels per kernel and their cost; the distance from the optimum is unknown."""
        counts = self.counts(choice)
        return Decoded(counts, self.budgets[0].spent(self.sites, counts), None)

    def counts(self, choice: UnitKernels) -> ChannelCounts:
        """Return the channels per kernel."""
        counts: ChannelCounts = {}
        for site in self.sites:
            name = site.conv.name
            channels = np.bincount(choice[name], weights=site.units, minlength=len(site.kernels))
            counts[name] = {k: int(n) for k, n in zip(site.kernels, channels, strict=True) if n}
        return counts

    def _meets(self, choice: UnitKernels, least: float) -> bool:
        counts, first = self.counts(choice), self.budgets[0]
        used = first.spent(self.sites, counts)
        within = all(limit.spent(self.sites, counts) <= limit.share for limit in self.budgets[1:])
        return within and least * first.share <= used <= first.share

    def _first(self, rng: np.random.Generator, way: tuple[float, bool]) -> UnitKernels:
        """Return a random choice that meets the budgets; if `way` finds none, try the ways after it."""
        for each in _WAYS[_WAYS.index(way) :]:
            choice = self._drawn(rng, each)
            if choice is not None:
                return choice
        raise InputError(_UNMET)

    def _drawn(self, rng: np.random.Generator, way: tuple[float, bool]) -> UnitKernels | None:
        least, whole = way
        for _ in range(_TRIES):
            choice = {}
            for site in self.sites:
                chances, units = self.chances[site.conv.name], len(site.units)
                kernels = rng.choice(len(chances), size=1 if whole else units, p=chances)
                choice[site.conv.name] = np.repeat(kernels, units) if whole else kernels
            if self._meets(choice, least):
                return choice
        return None

    def _child(
        self, rng: np.random.Generator, living: Sequence[tuple[float, UnitKernels]], way: tuple[float, bool]
    ) -> UnitKernels:
        """Return the best of a few members with some units, or whole layers, changed."""
        least, whole = way
        contest = rng.choice(len(living), size=_CONTEST, replace=False)
        _, parent = min((living[index] for index in contest), key=lambda one: one[0])
        places: list[tuple[str, int | slice]] = [
            (site.conv.name, unit)
            for site in self.sites
            for unit in ([slice(None)] if whole else range(len(site.units)))
        ]
        for _ in range(_TRIES):
            child = {name: kernels.copy() for name, kernels in parent.items()}
            count = min(int(rng.integers(1, _MUTATED + 1)), len(places))
            for place in rng.choice(len(places), size=count, replace=False):
                name, unit = places[place]
                child[name][unit] = rng.choice(len(self.chances[name]), p=self.chances[name])
            changed = any(not np.array_equal(child[name], parent[name]) for name in child)
            if changed and self._meets(child, least):
                return child
        return self._first(rng, way)
