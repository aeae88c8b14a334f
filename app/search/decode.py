"""The choice of a kernel for every slot (output channel), from scores, costs and a budget."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linear_sum_assignment, milp

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.operators.operator import ConvSpec
from app.search.costs import Budget, ChannelCounts, CostModel, Site, dense_total

KernelScores = Mapping[str, NDArray[np.float64]]
"""Importance of each kernel in each slot, (kernels, slots), by convolution; larger is more important."""

_LEAST_SPENT = 0.98  # smallest share of the budget to use, if whole channels allow it
_GAP = 1e-3  # relative to the total score; scores are much less precise
_SECONDS = 60.0  # time limit of the solver; it reports how far its solution may be from the best one
_DEAD = -1e9  # replaces the score of a disabled gate, which is minus infinity


@dataclass(frozen=True)
class Decoded:
    """Channels per kernel, their cost as a share of the dense cost, and how far from optimal they may be."""

    counts: ChannelCounts
    share: float
    gap: float | None
    """Bound on the relative distance of the total score from the best possible one; 0: proven optimal; None:
    unknown."""


def top_counts(sites: Sequence[Site], scores: KernelScores) -> ChannelCounts:
    """Return the counts by the rule of CAKES: the C largest of a layer's n * C paths; ties keep the first."""
    counts: ChannelCounts = {}
    for site in sites:
        values = scores[site.conv.name]
        kept = np.argsort(-values, axis=None, kind="stable")[: site.conv.out_channels]
        numbers = np.bincount(kept // values.shape[1], minlength=len(site.kernels))
        counts[site.conv.name] = _named(site, numbers)
    return counts


def best_under_budget(sites: Sequence[Site], scores: KernelScores, budget: Budget, *, align: int) -> Decoded:
    """Return the counts with the largest total score whose cost is within the budget.

    HiGHS solves one integer program over all layers. x[kernel, slot] in [0, 1] assigns a kernel to a slot,
    and integers count the groups of `align` channels of each kernel. For given counts the x form a transport
    problem, so they are whole numbers without being constrained to be. If the width is not a multiple of
    `align`, one group takes the remaining channels.

    Raises:
        InputError: the cheapest layout costs more than the budget, or the most expensive does not use it.
    """
    refuse_impossible(sites, budget)
    problem = _Problem.of(sites, scores, budget.costs, align)
    most = budget.share * dense_total(sites, budget.costs)
    solution = problem.solve(_LEAST_SPENT * most, most)
    if solution is None:  # whole channels may not be able to use that much of the budget
        solution = problem.solve(0.0, most)
    if solution is None:
        raise InputError(
            "search.budget: no layout in whole groups of search.align channels meets it; set a smaller "
            "search.align"
        )
    counts = {
        site.conv.name: _named(site, numbers) for site, numbers in zip(sites, solution.numbers, strict=True)
    }
    return Decoded(counts, budget.spent(sites, counts), solution.gap)


def refuse_impossible(sites: Sequence[Site], budget: Budget) -> None:
    """Check that layouts of these kernels can meet the budget.

    Raises:
        InputError: the cheapest layout costs more than the budget, or the most expensive does not use it.
    """
    low, high = _extremes(sites, budget.costs)
    high /= _LEAST_SPENT
    if not low <= budget.share <= high:
        raise InputError(
            f"search.budget: got {budget.share:g} of the dense {budget.costs.name}, "
            f"these kernels allow {_up(low):g} to {math.floor(1e4 * high) / 1e4:g}"
        )


def refuse_impossible_limit(sites: Sequence[Site], limit: Budget) -> None:
    """Check that layouts of these kernels can keep a limit, which need not be used up.

    Raises:
        InputError: the cheapest layout costs more than the limit.
    """
    low, _ = _extremes(sites, limit.costs)
    if limit.share < low:
        raise InputError(
            f"search.limits.{limit.costs.name}: got {limit.share:g} of the dense {limit.costs.name}, "
            f"these kernels allow {_up(low):g} or more"
        )


def assign_slots(site: Site, counts: Mapping[Kernel, int], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index of each slot's kernel, (slots,), with these counts and the largest total score."""
    rows = np.repeat(np.arange(len(site.kernels)), [counts.get(kernel, 0) for kernel in site.kernels])
    places, slots = linear_sum_assignment(np.maximum(scores, _DEAD)[rows], maximize=True)
    kernels = np.empty(len(slots), dtype=np.int64)
    kernels[slots] = rows[places]
    return kernels


def _extremes(sites: Sequence[Site], costs: CostModel) -> tuple[float, float]:
    """Return the costs of the cheapest and the most expensive layout, as shares of the dense cost."""
    whole = [
        [costs.group(site.conv, kernel, site.conv.out_channels) for kernel in site.kernels] for site in sites
    ]
    low, high = (sum(pick(layer) for layer in whole) / dense_total(sites, costs) for pick in (min, max))
    return low, high


def _up(share: float) -> float:
    return math.ceil(1e4 * share) / 1e4


def _named(site: Site, numbers: Sequence[int] | NDArray[np.int64]) -> dict[Kernel, int]:
    return {kernel: int(n) for kernel, n in zip(site.kernels, numbers, strict=True) if n}


@dataclass(frozen=True)
class _Solution:
    numbers: list[list[int]]
    gap: float


@dataclass(frozen=True)
class _Column:
    """A variable of the program: how many groups of `channels`, from 0 to `most`, each of cost `cost`."""

    channels: int
    cost: float
    most: int


def _columns(conv: ConvSpec, kernel: Kernel, costs: CostModel, align: int) -> list[_Column]:
    """Return the columns of one kernel; if costs are not linear, there is one per number of channels."""
    whole, rest = divmod(conv.out_channels, align)
    if costs.linear:
        steps = [(align, whole), (rest, 1)]
    else:
        steps = [(groups * align + extra, 1) for groups in range(whole + 1) for extra in {0, rest}]
    return [
        _Column(channels, costs.group(conv, kernel, channels), most)
        for channels, most in steps
        if channels * most
    ]


@dataclass(frozen=True)
class _Problem:
    """The integer program: its variables are all x, by layer, kernel and slot, then one number per column."""

    columns: list[list[list[_Column]]]
    """The columns of each kernel of each layer."""
    gain: NDArray[np.float64]
    """The score of each x."""
    rules: sparse.csr_array
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, sites: Sequence[Site], scores: KernelScores, costs: CostModel, align: int) -> "_Problem":
        columns = [[_columns(site.conv, kernel, costs, align) for kernel in site.kernels] for site in sites]
        slots = [site.conv.out_channels for site in sites]
        layers = zip(columns, slots, strict=True)
        blocks = [_rules(*layer, align, linear=costs.linear) for layer in layers]
        xs, ns = (sparse.block_diag([block[part] for block in blocks]) for part in (0, 1))
        low, high = (np.concatenate([block[part] for block in blocks]) for part in (2, 3))
        gains = [np.maximum(scores[site.conv.name], _DEAD).ravel() for site in sites]
        return cls(columns, np.concatenate(gains), sparse.csr_array(sparse.hstack([xs, ns])), low, high)

    def solve(self, least: float, most: float) -> _Solution | None:
        flat = [column for layer in self.columns for kernel in layer for column in kernel]
        slots, numbers = len(self.gain), len(flat)
        # Costs are shares of the budget, because values of 1e9 would exceed the solver's tolerance.
        spent = np.concatenate([np.zeros(slots), [column.cost / most for column in flat]])
        result = milp(
            np.concatenate([-self.gain, np.zeros(numbers)]),
            integrality=np.repeat([0, 1], [slots, numbers]),
            bounds=Bounds(0, np.concatenate([np.ones(slots), [column.most for column in flat]])),
            constraints=[
                LinearConstraint(self.rules, self.low, self.high),
                LinearConstraint(sparse.csr_array(spent[None]), least / most, 1.0),
            ],
            options={"time_limit": _SECONDS, "mip_rel_gap": _GAP},
        )
        if result.x is None:
            return None
        return _Solution(self._counts(np.rint(result.x[slots:])), round(float(result.mip_gap or 0.0), 6))

    def _counts(self, numbers: NDArray[np.float64]) -> list[list[int]]:
        """Return the channels per kernel of each layer."""
        left = iter(numbers)
        return [
            [sum(column.channels * int(next(left)) for column in kernel) for kernel in layer]
            for layer in self.columns
        ]


def _rules(
    columns: list[list[_Column]], slots: int, align: int, *, linear: bool
) -> tuple[sparse.coo_array, sparse.coo_array, NDArray[np.float64], NDArray[np.float64]]:
    """Return the constraints of one layer: rows over x, rows over numbers, lower and upper bounds.

    Each slot has one kernel. Each kernel has as many slots as its columns add up to. If costs are not linear,
    a kernel uses at most one column. If the width is not a multiple of `align`, at most one column with a
    remainder is used in the layer.
    """
    kernels, sizes = len(columns), [len(kernel) for kernel in columns]
    rest = np.array([[float(column.channels % align > 0) for kernel in columns for column in kernel]])
    rest = rest[rest.any(axis=1)]  # no row if there is no remainder
    of_slot = sparse.kron(np.ones((1, kernels)), sparse.eye_array(slots))
    of_kernel = sparse.kron(sparse.eye_array(kernels), np.ones((1, slots)))
    counted = sparse.block_diag(
        [sparse.coo_array([[-float(column.channels) for column in kernel]]) for kernel in columns]
    )
    taken = sparse.block_diag([sparse.coo_array(np.ones((1, size))) for size in sizes])
    x = sparse.vstack([of_slot, of_kernel, sparse.coo_array((kernels + len(rest), kernels * slots))])
    numbers = sparse.vstack([sparse.coo_array((slots, sum(sizes))), counted, taken, sparse.coo_array(rest)])
    low = np.repeat([1.0, 0.0, 0.0], [slots, kernels, kernels + len(rest)])
    high = np.repeat([1.0, 0.0, np.inf if linear else 1.0, 1.0], [slots, kernels, kernels, len(rest)])
    return x, numbers, low, high
