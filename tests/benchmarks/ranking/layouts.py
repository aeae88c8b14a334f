"""Layouts that cost the same, drawn by chance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.core.digest import digest_of
from app.core.errors import InputError
from app.core.layout import Layout
from app.layers.cost import Cost
from app.models.network import NetworkSpec, design
from app.operators.mixed import Mixed
from app.operators.plain import Conv3d
from app.operators.supernet import SuperNet
from app.search.costs import Budget, CostModel, MacsCost, ParamsCost, Site, dense_total, slot_costs
from app.search.evolve import Evolution, UnitKernels, even_chances
from app.search.search import searched_sites

TOLERANCE = 0.009
"""How far multiply-adds and weights of a network may be from the mean: two then agree within 2 %."""
_DRAWN = 5_000  # layouts at a time
_WIDTHS = 200  # divisions of widths that are tried for each layout
_FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5)  # of a level's width
_COSTS: tuple[CostModel, CostModel] = (MacsCost(), ParamsCost())


@dataclass(frozen=True)
class Candidate:
    """One layout, the widths it is for, and what the whole network costs."""

    number: int
    widths: tuple[int, ...]
    layout: Layout
    choice: UnitKernels
    """The kernel's index of each unit, by convolution."""
    cost: Cost

    @property
    def digest(self) -> str:
        """Tells layouts apart."""
        return digest_of([self.widths, self.layout.to_dict()["convolutions"]])[:12]

    def spec(self, dense: NetworkSpec) -> NetworkSpec:
        """Return the network with this layout."""
        shape = replace(dense.shape, widths=self.widths)
        return design(dense.model, shape, Mixed(self.layout), None)


@dataclass(frozen=True)
class _Space:
    """The layouts of one division of widths, with the shares of its dense costs that are aimed at."""

    widths: tuple[int, ...]
    sites: tuple[Site, ...]
    chances: Mapping[str, NDArray[np.float64]]
    aims: tuple[float, ...]
    """Multiply-adds and weights of the searched convolutions."""
    rest: tuple[float, ...]
    """Those of all else."""

    def drawn(self, rng: np.random.Generator) -> Iterator[UnitKernels]:
        """Layouts that cost what is aimed at, of a large number drawn by chance."""
        choices, totals = {}, np.zeros((len(_COSTS), _DRAWN))
        for site in self.sites:
            units, name = site.units, site.conv.name
            choices[name] = rng.choice(len(site.kernels), size=(_DRAWN, len(units)), p=self.chances[name])
            for index, costs in enumerate(_COSTS):
                totals[index] += np.array(slot_costs(site, costs))[choices[name]] @ np.array(units)
        aims, rests = np.array(self.aims)[:, None], np.array(self.rest)[:, None]
        near = (np.abs((totals + rests) / (aims + rests) - 1) <= TOLERANCE).all(axis=0)
        for index in np.flatnonzero(near).tolist():
            yield {name: kernels[index] for name, kernels in choices.items()}


def draw_alike(
    dense: NetworkSpec,
    operator: SuperNet,
    *,
    share: float,
    count: int,
    seed: int,
    vary_widths: bool = False,
    params_share: float | None = None,
) -> list[Candidate]:
    """Draw different layouts of `operator`'s kernels whose networks cost the same.

    Multiply-adds are `share` of the dense cost of the searched convolutions at the network's own widths,
    weights `params_share`; None: what layouts of these multiply-adds have on average. With `vary_widths`
    every layout has widths of its own, and the same multiply-adds and weights.

    Raises:
        InputError: so many such layouts were not found.
    """
    rng = np.random.default_rng(seed)
    base = _base(dense, operator, share, params_share)
    found: dict[str, Candidate] = {}
    for space in _spaces(base, dense, operator, rng, tries=_WIDTHS * count if vary_widths else 0):
        for choice in space.drawn(rng):
            one = _candidate(len(found), space, choice, dense)
            found.setdefault(one.digest, one)
            if len(found) == count:
                return list(found.values())
            if vary_widths:
                break
    raise InputError(
        f"found {len(found)} layouts that cost the same, wanted {count}; "
        "try a smaller search.align, more of search.kernels, or another search.budget"
    )


def _base(dense: NetworkSpec, operator: SuperNet, share: float, params_share: float | None) -> _Space:
    sites = _sites(dense, operator)
    if params_share is None:
        free = even_chances(sites, [Budget(_COSTS[0], share)])
        params_share = _mean(sites, free, _COSTS[1]) / dense_total(sites, _COSTS[1])
    shares = zip((share, params_share), _COSTS, strict=True)
    aims = tuple(each * dense_total(sites, costs) for each, costs in shares)
    return _space(dense, sites, aims)


def _spaces(
    base: _Space, dense: NetworkSpec, operator: SuperNet, rng: np.random.Generator, *, tries: int
) -> Iterator[_Space]:
    """The network's own widths again and again, or other ones each time, whose whole cost is the same."""
    if not tries:
        yield from [base] * 100
    wholes = [aim + rest for aim, rest in zip(base.aims, base.rest, strict=True)]
    for _ in range(tries):
        factors = rng.choice(_FACTORS, size=len(base.widths))
        widths = tuple(
            max(8, round(width * factor / 8) * 8) for width, factor in zip(base.widths, factors, strict=True)
        )
        other = replace(dense, shape=replace(dense.shape, widths=widths))
        sites = _sites(other, operator)
        rests = _rest(other, sites)
        aims = tuple(whole - rest for whole, rest in zip(wholes, rests, strict=True))
        if all(low <= aim <= high for aim, (low, high) in zip(aims, _extremes(sites), strict=True)):
            yield _space(other, sites, aims)


def _space(dense: NetworkSpec, sites: tuple[Site, ...], aims: tuple[float, ...]) -> _Space:
    """With chances by which layouts cost on average what is aimed at.

    A second budget is kept but need not be used up, so it is given first if layouts would not use it up.
    """
    budgets = [
        Budget(costs, aim / dense_total(sites, costs)) for costs, aim in zip(_COSTS, aims, strict=True)
    ]
    chances = even_chances(sites, budgets)
    if _mean(sites, chances, _COSTS[1]) < (1 - TOLERANCE) * aims[1]:
        chances = even_chances(sites, budgets[::-1])
    return _Space(dense.shape.widths, sites, chances, aims, _rest(dense, sites))


def _sites(dense: NetworkSpec, operator: SuperNet) -> tuple[Site, ...]:
    return searched_sites(design(dense.model, dense.shape, operator, None))


def _rest(dense: NetworkSpec, sites: Sequence[Site]) -> tuple[float, ...]:
    """What all but the searched convolutions cost."""
    assert dense.shape.patch is not None
    whole = design(dense.model, dense.shape, Conv3d(), None).cost(dense.shape.patch)
    return whole.macs - dense_total(sites, _COSTS[0]), whole.params - dense_total(sites, _COSTS[1])


def _extremes(sites: Sequence[Site]) -> list[tuple[float, float]]:
    """The least and the most that layouts cost."""
    return [
        (
            sum(site.conv.out_channels * min(slot_costs(site, costs)) for site in sites),
            sum(site.conv.out_channels * max(slot_costs(site, costs)) for site in sites),
        )
        for costs in _COSTS
    ]


def _mean(sites: Sequence[Site], chances: Mapping[str, NDArray[np.float64]], costs: CostModel) -> float:
    """What layouts drawn by these chances cost on average."""
    return sum(
        site.conv.out_channels * float(chances[site.conv.name] @ np.array(slot_costs(site, costs)))
        for site in sites
    )


def _candidate(number: int, space: _Space, choice: UnitKernels, dense: NetworkSpec) -> Candidate:
    layout = Layout(Evolution(space.sites, (), {}).counts(choice), {"method": "random", "number": number})
    shape = replace(dense.shape, widths=space.widths)
    assert shape.patch is not None
    cost = design(dense.model, shape, Mixed(layout), None).cost(shape.patch)
    return Candidate(number, space.widths, layout, choice, cost)
