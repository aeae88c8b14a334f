"""The kernel-level optimiser: chooses sets of sub-kernels under a budget, without training."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from app.analyze.convolutions import layers, objective
from app.core.errors import InputError
from app.core.layout import Layout
from app.core.types import Size
from app.models.network import NetworkSpec, list_convolutions
from app.operators import ConvSpec
from app.operators.cakes import split
from app.operators.mixed import Mixed
from app.operators.vocabulary import vocabulary

_SETS = tuple(vocabulary(kernels, "kernels") for kernels in ("1d", "12d", "2d", "123d", ["3x3x3"]))
SETS_ABOVE_THE_CHEAPEST = len(_SETS) - 1
SetChoice = Mapping[str, int]


@dataclass(frozen=True)
class ChosenLayout:
    """A layout, the mean scores of the cheapest layout and of this one, and its cost."""

    layout: Layout
    before: float
    after: float
    cost: float


def choose_kernels(
    spec: NetworkSpec, patch: Size, *, measure: str, budget: float, advance: Callable[[], None]
) -> ChosenLayout:
    """Start with 1D kernels everywhere; widen where the mean score gains most per cost, within the budget.

    `budget` is a share of the dense network's cost in `measure` (params or macs). A step is taken only if the
    score rises. The gain of one convolution hardly depends on the others, so it is computed again only when
    its turn comes.

    Raises:
        InputError: 1D kernels everywhere are over the budget.
    """
    convs = {c.name: c for c in list_convolutions(spec.model, replace(spec.shape, patch=patch))}
    dense = replace(spec, encoder=_mixed(convs, dict.fromkeys(convs, len(_SETS) - 1)))
    dense = replace(dense, decoder=dense.encoder)
    most = budget * getattr(dense.cost(patch), measure)

    def judged(choice: SetChoice) -> tuple[float, float]:
        operator = _mixed(convs, choice)
        made = replace(spec, encoder=operator, decoder=operator)
        return objective(layers(made, patch)), float(getattr(made.cost(patch), measure))

    choice: dict[str, int] = dict.fromkeys(convs, 0)
    before, cost = judged(choice)
    if cost > most:
        raise InputError(
            f"analyze.budget: got {budget}, wanted at least {budget * cost / most:.3f}, the cost of 1D "
            "kernels everywhere"
        )
    best = before
    queue = [(-float("inf"), place, name, 1) for place, name in enumerate(convs)]
    heapq.heapify(queue)
    while queue:
        _, place, name, level = heapq.heappop(queue)
        value, price = judged({**choice, name: level})
        gain = (value - best) / max(price - cost, 1.0)
        if queue and -gain > queue[0][0] and gain > 0:
            heapq.heappush(queue, (-gain, place, name, level))
            continue
        if gain > 0 and price <= most:
            choice[name], best, cost = level, value, price
        if level + 1 < len(_SETS):
            heapq.heappush(queue, (-float("inf"), place, name, level + 1))
        advance()
    operator = _mixed(convs, choice)
    provenance = {"method": "static 3DRF kernel choice", "unit": measure, "budget": budget}
    return ChosenLayout(Layout(operator.layout.convolutions, provenance), before, best, cost)


def _mixed(convs: Mapping[str, ConvSpec], choice: SetChoice) -> Mixed:
    """Return the operator whose layout follows from a choice of sets."""
    return Mixed(Layout({name: split(conv, _SETS[choice[name]], 1, 0) for name, conv in convs.items()}))
