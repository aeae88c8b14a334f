"""The kernel-level optimiser of the paper: chooses how channels are mixed after depthwise filters.

Wang, Feng et al. (arXiv 2009.05236) replace convolutions by depthwise ones followed by a pointwise one, whose
channels are grouped or overlap (rolling; g groups, overlap o). Their way of choosing is not fully public; the
score and the choice here are ours. No training is needed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product

from app.analyze.convolutions import layers, objective
from app.core.errors import InputError
from app.core.types import Size
from app.models.network import NetworkSpec, list_convolutions
from app.operators.rolling import Rolling

GROUP_COUNTS = (8, 4, 2, 1)
"""Numbers of groups, from cheap to expensive."""
OVERLAPS = (None, 0.25, 0.33, 0.5, 0.75)
"""Overlaps that are tried; None stands for a grouped convolution without overlap."""
Mix = Mapping[str, int | float | None]


@dataclass(frozen=True)
class ChosenMixes:
    """An operator with the chosen mixes, and the mean scores of the cheapest mixes and of its own."""

    operator: Rolling
    before: float
    after: float


def choose_mixes(
    spec: NetworkSpec, patch: Size, *, measure: str, budget: float, advance: Callable[[], None]
) -> ChosenMixes:
    """Start with eight groups everywhere; use fewer or overlapping groups where the gain per cost is best.

    `budget` is a share of the network's own cost in `measure` (params or macs). Convolutions are visited in
    order until none gains. Each takes, among its mixes within the budget, the one with the largest gain per
    cost. `advance` is called after each convolution.

    Raises:
        InputError: eight groups everywhere are over the budget.
    """
    names = [conv.name for conv in list_convolutions(spec.model, spec.shape)]
    most = budget * getattr(spec.cost(patch), measure)

    def judged(mixes: Mapping[str, Mix]) -> tuple[float, float]:
        made = _with(spec, mixes)
        return objective(layers(made, patch)), float(getattr(made.cost(patch), measure))

    chosen: dict[str, Mix] = {name: {"groups": GROUP_COUNTS[0], "overlap": None} for name in names}
    before, cost = judged(chosen)
    if cost > most:
        raise InputError(
            f"analyze.budget: got {budget}, wanted at least {budget * cost / most:.3f}, the cost of the "
            "cheapest mixes"
        )
    best, gained = before, True
    while gained:
        gained = False
        for name in names:
            found = []
            for groups, overlap in product(GROUP_COUNTS, OVERLAPS):
                mix: Mix = {"groups": groups, "overlap": overlap}
                if mix == chosen[name] or (groups == 1 and overlap is not None):
                    continue
                value, price = judged({**chosen, name: mix})
                if value > best + 1e-9 and price <= most:
                    found.append(((value - best) / max(price - cost, 1.0), value, price, mix))
            if found:
                _, best, cost, chosen[name] = max(found, key=lambda option: option[:2])
                gained = True
            advance()
    return ChosenMixes(_operator(chosen), before, best)


def _operator(mixes: Mapping[str, Mix]) -> Rolling:
    return Rolling(groups=GROUP_COUNTS[0], overlap=None, convolutions=dict(mixes))


def _with(spec: NetworkSpec, mixes: Mapping[str, Mix]) -> NetworkSpec:
    operator = _operator(mixes)
    return replace(spec, encoder=operator, decoder=operator)
