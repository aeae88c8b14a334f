"""How far each convolution is compressed, so that all together keep within a budget at the least error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.core.errors import InputError
from app.operators.decomposed import Factors


@dataclass(frozen=True)
class RankChoice:
    """One way to make a convolution: factors, or None to leave it dense."""

    factors: Factors | None
    cost: float
    error: float
    """Share of the energy that is lost: of the network's answer, or of the weights where no data are seen."""


def allocate(choices: Mapping[str, Sequence[RankChoice]], budget: float) -> dict[str, RankChoice]:
    """A choice for each convolution: from the cheapest up, the best error for its cost first.

    Deterministic; steps go along the lower convex hull of (cost, error), and one that does not fit ends its
    convolution's way up.

    Raises:
        InputError: the cheapest choices together are over the budget.
    """
    hulls = {name: lower_hull(options) for name, options in choices.items()}
    place = dict.fromkeys(hulls, 0)
    spent = sum(hull[0].cost for hull in hulls.values())
    if spent > budget:
        raise InputError(
            f"compress.budget: leaves {budget:.4g} for the convolutions, they take {spent:.4g} at the least"
        )
    climbing = [name for name, hull in hulls.items() if len(hull) > 1]
    while climbing:
        name = max(climbing, key=lambda name: _gain(hulls[name], place[name]))
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
    """Those that no mixture of two others beats, from cheap to dear."""
    hull: list[RankChoice] = []
    for option in sorted(options, key=lambda option: (option.cost, option.error)):
        if hull and option.error >= hull[-1].error:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-2], option):
            hull.pop()
        hull.append(option)
    return hull


def _gain(hull: Sequence[RankChoice], place: int) -> float:
    return _slope(hull[place], hull[place + 1])


def _slope(here: RankChoice, there: RankChoice) -> float:
    """Error saved for each unit of cost."""
    return (here.error - there.error) / (there.cost - here.cost)
