"""The best of many layouts, each tried on one trained super-network, found by mutation and selection.

Networks that share weights are compared by their loss on the same batches, as in single-path one-shot search
(Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV 2020); who is bred
from and who dies is regularised evolution (Real et al., AAAI 2019). Unlike gates, which are scored one by
one, a layout is judged whole: two layers that leave out the same axis are seen to.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from app.core.errors import InputError
from app.core.progress import progress_bar
from app.search.costs import CostModel, Site, dense_total
from app.search.decode import Counts, Decoded, total_cost

FIRST = 24  # drawn by chance; as many live at a time
_CONTEST = 6
_MUTATED = 3  # units at most
_TRIES = 5000
_STEEPEST = 1e9
_RAREST = 1e-6  # chance of a kernel beside the likeliest one, at least
_UNMET = "search.budget: no layout in whole units of channels meets it"
_SPENT = (0.98, 0.9, 0.0)  # of the budget, at least; the next where units are too coarse

Choice = Mapping[str, NDArray[np.int64]]
"""The kernel's index of each unit, by convolution."""


def even_chances(sites: Sequence[Site], costs: CostModel, budget: float) -> dict[str, NDArray[np.float64]]:
    """The chance of each kernel, by convolution, so that a drawn layout costs the budget on average.

    Of all such chances those that say least else (of largest entropy): a slot's kernel is drawn with
    exp(-rate * its cost). Cheap layers choose freely, dear ones rarely a dear kernel.
    """
    dense = dense_total(sites, costs)
    each = [
        np.array([costs.group(site.conv, kernel, site.conv.out_channels) for kernel in site.kernels]) / dense
        for site in sites
    ]
    slots = [site.conv.out_channels for site in sites]

    def chances(rate: float) -> list[NDArray[np.float64]]:
        exponents = [-rate * cost / n for cost, n in zip(each, slots, strict=True)]
        raw = [np.maximum(np.exp(values - values.max()), _RAREST) for values in exponents]
        return [values / values.sum() for values in raw]

    def excess(rate: float) -> float:
        drawn = chances(rate)
        return float(sum((p * cost).sum() for p, cost in zip(drawn, each, strict=True))) - budget

    sign = 1.0 if excess(0.0) > 0 else -1.0  # the dear kernels are the rare ones, or the cheap ones are
    steep = 1.0
    while sign * excess(sign * steep) > 0 and steep < _STEEPEST:
        steep *= 2
    met = sign * excess(sign * steep) < 0
    rate = brentq(excess, *sorted((0.0, sign * steep))) if met else sign * steep
    return {site.conv.name: values for site, values in zip(sites, chances(rate), strict=True)}


@dataclass(frozen=True)
class Evolution:
    """What evolves: units of channels per convolution, under a budget as a share of the dense cost."""

    sites: Sequence[Site]
    units: Mapping[str, Sequence[int]]
    """Channels of each unit, by convolution."""
    chances: Mapping[str, NDArray[np.float64]]
    """Of each kernel in a first or a mutated unit, by convolution."""
    costs: CostModel
    budget: float

    def run(self, judge: Callable[[Choice], float], *, trials: int, seed: int) -> tuple[Choice, list[float]]:
        """The choice of the smallest judgement, and the judgements of all trials in order.

        Raises:
            InputError: no choice meets the budget.
        """
        rng = np.random.default_rng(seed)
        least = next((share for share in _SPENT if self._drawn(rng, share) is not None), None)
        if least is None:
            raise InputError(_UNMET)
        living: deque[tuple[float, Choice]] = deque(maxlen=FIRST)
        best: tuple[float, Choice] | None = None
        judged = []
        with progress_bar("Trying layouts", trials) as advance:
            for number in range(trials):
                choice = self._first(rng, least) if number < FIRST else self._child(rng, living, least)
                judged.append(judge(choice))
                living.append((judged[-1], choice))
                best = living[-1] if best is None or judged[-1] < best[0] else best
                advance(note=f"best loss {best[0]:.4f}")
        assert best is not None
        return best[1], judged

    def decoded(self, choice: Choice) -> Decoded:
        """Channels per kernel and what they cost; how far from the best possible is not known."""
        counts = self.counts(choice)
        return Decoded(counts, self._share(counts), None)

    def counts(self, choice: Choice) -> Counts:
        """Channels per kernel."""
        counts: Counts = {}
        for site in self.sites:
            name = site.conv.name
            channels = np.bincount(choice[name], weights=self.units[name], minlength=len(site.kernels))
            counts[name] = {k: int(n) for k, n in zip(site.kernels, channels, strict=True) if n}
        return counts

    def _share(self, counts: Counts) -> float:
        return total_cost(self.sites, counts, self.costs) / dense_total(self.sites, self.costs)

    def _meets(self, choice: Choice, least: float) -> bool:
        return least * self.budget <= self._share(self.counts(choice)) <= self.budget

    def _first(self, rng: np.random.Generator, least: float) -> Choice:
        """Drawn afresh; where that much of the budget is hard to spend by chance, less is."""
        for share in (each for each in _SPENT if each <= least):
            choice = self._drawn(rng, share)
            if choice is not None:
                return choice
        raise InputError(_UNMET)

    def _drawn(self, rng: np.random.Generator, least: float) -> Choice | None:
        for _ in range(_TRIES):
            choice = {
                name: rng.choice(len(self.chances[name]), size=len(units), p=self.chances[name])
                for name, units in self.units.items()
            }
            if self._meets(choice, least):
                return choice
        return None

    def _child(
        self, rng: np.random.Generator, living: Sequence[tuple[float, Choice]], least: float
    ) -> Choice:
        """The best of a few, with some units changed."""
        contest = rng.choice(len(living), size=_CONTEST, replace=False)
        _, parent = min((living[index] for index in contest), key=lambda one: one[0])
        places = [(name, unit) for name, units in self.units.items() for unit in range(len(units))]
        for _ in range(_TRIES):
            child = {name: kernels.copy() for name, kernels in parent.items()}
            for place in rng.choice(len(places), size=rng.integers(1, _MUTATED + 1), replace=False):
                name, unit = places[place]
                child[name][unit] = rng.choice(len(self.chances[name]), p=self.chances[name])
            changed = any(not np.array_equal(child[name], parent[name]) for name in child)
            if changed and self._meets(child, least):
                return child
        return self._first(rng, least)
