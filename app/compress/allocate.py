"""Choice of a rank for every convolution, so that the network meets a budget with the least error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.core.errors import InputError
from app.operators.decomposed import Factors


@dataclass(frozen=True)
class RankChoice:
    """One way to compute a convolution: by factors, or dense if `factors` is None."""

    factors: Factors | None
    cost: float
    error: float
    """Share of the energy lost: of the network's output, or of the weights if no data are used."""


def allocate(choices: Mapping[str, Sequence[RankChoice]], budget: float) -> dict[str, RankChoice]:
    """Return a choice for each convolution; start with the cheapest and take the best gain per cost first.

    The result is deterministic. Each convolution moves along the lower convex hull of (cost, error) and stops
    at the first step that does not fit into the budget.

    Raises:
        InputError: the cheapest choices together are over the budget.
    """
    hulls = {name: lower_hull(options) for name, options in choices.items()}
    place = dict.fromkeys(hulls, 0)
    spent = sum(hull[0].cost for hull in hulls.values())
    if spent > budget:
        raise InputError(
            f"compress.budget: leaves a budget of {budget:.4g} for the convolutions, they take {spent:.4g} "
            "at the least"
        )
    climbing = [name for name, hull in hulls.items() if len(hull) > 1]
    while climbing:
        name = max(climbing, key=lambda name: _slope(*hulls[name][place[name] : place[name] + 2]))
        here, there = hulls[name][place[name]], hulls[name][place[name] + 1]
        if spent - here.cost + there.cost > budget:
            climbing.remove(name)
            continue
        spent += there.cost - here.cost
        place[name] += 1
        if place[name] + 1 == len(hulls[name]):
            climbing.remove(name)
    return {name: hull[place[name]] for name, hull in hulls.items()}


def lower_hull(options: Sequence[RankChoice]) -> list[RankChoice]:
    """Return the options on the lower convex hull, from cheap to expensive; no mixture of two beats them."""
    hull: list[RankChoice] = []
    for option in sorted(options, key=lambda option: (option.cost, option.error)):
        if hull and option.error >= hull[-1].error:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-2], option):
            hull.pop()
        hull.append(option)
    return hull


def _slope(here: RankChoice, there: RankChoice) -> float:
    """Return the error saved per unit of cost."""
    return (here.error - there.error) / (there.cost - here.cost)
