"""The networks that a race chooses from: levels, widths, decoder and kernels within a budget.

Every network is fitted to the budget: its widths are scaled until it just keeps the budget, then units of
channels take larger kernels one by one until the budget is used up. All networks therefore cost the same.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.core.layout import Layout, Outline
from app.operators.cakes import split
from app.search.costs import Site
from app.search.race_record import Worth
from app.search.units import Turn, counts_of, moved, shares_of

Shares = dict[str, NDArray[np.float64]]
"""Shares of a convolution's channels, one per kernel, by convolution; they sum to 1."""

LEAST_SPENT = 0.98
"""Smallest share of the budget that a network uses."""
_DECODERS = (0.25, 0.5, 0.75, 1.0)
_CHANNELS = 8  # widths are multiples of this, or of the planned ones if these are smaller
_SCALES = 12  # widths are multiplied by at most this power of 2^(1/4)
_TRIES = 8  # draws to find a network that uses up the budget
_SPREAD = 0.25  # standard deviation of the binary logarithm of a width around the slope over levels
_SLOPE = 0.4  # standard deviation of the slope of this logarithm over levels
_NARROW = 1.0  # concentration of a network's preferences for kernels; 1: all are equally likely
_LIKE_IT = 3.0  # concentration of a convolution's kernels around these preferences
_POWERS = (0.0, 1.0, 2.0, 4.0, 8.0)  # exponents of the importance of kernels in a child
_RENEWED = 0.05  # share of a child's channels that all kernels share equally before importance counts
_ALIGN = 16  # channels per kernel of the first network are multiples of this, as op=cakes has them


@dataclass(frozen=True)
class Space:
    """The networks that can be drawn, and their costs."""

    outlines: tuple[Outline, ...]
    """Sets of levels to choose from; the planned one is first."""
    sites: Callable[[Outline], tuple[Site, ...]]
    """Returns the convolutions of a network whose kernels are chosen."""
    prices: Callable[[Layout], Sequence[float]]
    """Returns costs as shares of their budgets; the first budget is to be used up."""
    free: bool
    """Whether widths and decoder are chosen too."""

    def first(self, number: int, seed: int) -> Layout:
        """Return one of the networks with which a race starts.

        Number 0 is the planned network with the equal split of lines and planes that `op=cakes` has, number 1
        has all kernels in equal shares, number 2 only the dense kernel, if a network with it keeps the
        budget; all are as wide as the budget allows. Of the others, those with odd numbers differ little from
        number 0; those with even ones are random.

        Raises:
            InputError: no network within the budget was found.
        """
        rng = np.random.default_rng([seed, number])
        planned = self.outlines[0]
        if number == 0:
            return self._fitted(lambda: (planned, self._flat(planned)), rng)
        if number == 1:
            return self._fitted(lambda: (planned, self._even(planned)), rng)
        if number == 2 and self._can_be_dense():
            return self._fitted(lambda: (planned, self._dense(planned)), rng)
        if number % 2 == 0:
            return self.random(seed, number)
        return self.child([self.first(0, seed)] * 2, {}, seed, number)

    def random(self, *seed: int) -> Layout:
        """Return a random network within the budget.

        Raises:
            InputError: no network within the budget was found.
        """
        rng = np.random.default_rng([*seed, 1])
        return self._fitted(lambda: self._drawn(rng), rng)

    def child(self, parents: Sequence[Layout], worth: Worth, *seed: int) -> Layout:
        """Return a network like the first of two parents, with parts of the second if their levels agree.

        The share of each kernel is multiplied by a power of the importance of its channels, and one level may
        gain width that another loses. Like all networks, the result is fitted to the budget.

        Raises:
            InputError: no network within the budget was found.
        """
        rng = np.random.default_rng([*seed, 2])
        return self._fitted(lambda: self._bred(parents, worth, rng), rng)

    def _fitted(self, draw: Callable[[], tuple[Outline, Shares]], rng: np.random.Generator) -> Layout:
        """Return the first of a few draws that uses up the budget, else the one that uses most of it."""
        best: tuple[float, Layout] | None = None
        least = math.inf
        for _ in range(_TRIES):
            outline, shares = draw()
            layout = self._filled(self._widest(outline, shares, rng), shares, rng)
            prices = self.prices(layout)
            least = min(least, max(prices))
            if max(prices) <= 1 and (best is None or prices[0] > best[0]):
                best = prices[0], layout
                if best[0] >= LEAST_SPENT:
                    break
        if best is None:
            raise InputError(
                "search.budget, search.limits: no network with these kernels "
                f"meets them; the smallest one costs {least:.3g} times as much; set a larger budget"
            )
        return best[1]

    def _drawn(self, rng: np.random.Generator) -> tuple[Outline, Shares]:
        outline = self.outlines[0]
        if self.free:
            outline = self.outlines[rng.integers(len(self.outlines))]
            levels = np.arange(len(outline.widths))
            slope, noise = rng.normal(0, _SLOPE), rng.normal(0, _SPREAD, len(levels))
            powers = slope * (levels - levels.mean()) + noise
            outline = replace(
                outline,
                widths=_rounded([w * 2**p for w, p in zip(outline.widths, powers, strict=True)], self._step),
                decoder_width=float(rng.choice(_DECODERS)),
            )
        sites = self.sites(outline)
        most = max(len(site.kernels) for site in sites)
        liked = rng.dirichlet(np.full(most, _NARROW)) + 0.01
        shares = {site.conv.name: rng.dirichlet(_LIKE_IT * liked[: len(site.kernels)]) for site in sites}
        return outline, shares

    def _bred(
        self, parents: Sequence[Layout], worth: Worth, rng: np.random.Generator
    ) -> tuple[Outline, Shares]:
        first, second = parents
        outline = first.network
        assert outline is not None and second.network is not None
        alike = outline.strides == second.network.strides
        crossed = alike and rng.random() < 0.5
        if self.free:
            widths = list(outline.widths)
            if crossed:
                pairs = zip(widths, second.network.widths, strict=True)
                widths = [pair[rng.integers(2)] for pair in pairs]
            wins, loses = rng.choice(len(widths), 2, replace=False)
            factor = 2 ** float(rng.choice((0.0, 0.25, 0.5)))
            widths[wins], widths[loses] = widths[wins] * factor, widths[loses] / factor
            decoder = outline.decoder_width
            if rng.random() < 0.25:
                decoder = float(rng.choice(_DECODERS))
            outline = replace(outline, widths=_rounded(widths, self._step), decoder_width=decoder)
        power, shares = float(rng.choice(_POWERS)), Shares()
        for site in self.sites(outline):
            name = site.conv.name
            source = second if crossed and rng.random() < 0.5 else first
            own = shares_of(site, source)
            known = worth.get(name, {})
            values = np.array([max(known.get(str(kernel), 1.0), 1e-6) for kernel in site.kernels])
            own = (own + _RENEWED / len(own)) * values**power
            shares[name] = own / own.sum()
        renewed = str(rng.choice(list(shares)))
        if power == 0:
            shares[renewed] = rng.dirichlet(np.ones(len(shares[renewed])))
        return outline, shares

    def _widest(self, outline: Outline, shares: Shares, rng: np.random.Generator) -> Outline:
        """Return the outline with all widths scaled, then levels widened in turn until none fits."""
        if not self.free:
            return outline
        low, high = -_SCALES, _SCALES + 1  # the lowest scale is taken even if it does not keep the budget
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (
                (middle, high) if self._keeps(self._scaled(outline, middle), shares) else (low, middle)
            )
        outline = self._scaled(outline, low)
        fitting = list(range(len(outline.widths)))
        while fitting:
            for level in rng.permutation(fitting):
                widths = list(outline.widths)
                widths[level] += self._step
                wider = replace(outline, widths=tuple(widths))
                if self._keeps(wider, shares):
                    outline = wider
                else:
                    fitting.remove(level)
        return outline

    def _scaled(self, outline: Outline, power: int) -> Outline:
        widths = [width * 2 ** (power / 4) for width in outline.widths]
        return replace(outline, widths=_rounded(widths, self._step))

    @property
    def _step(self) -> int:
        return min(_CHANNELS, *self.outlines[0].widths)

    def _keeps(self, outline: Outline, shares: Shares) -> bool:
        return max(self.prices(self._layout(outline, shares))) <= 1

    def _layout(self, outline: Outline, shares: Shares) -> Layout:
        counts = {
            site.conv.name: counts_of(site, shares[site.conv.name], turn)
            for turn, site in enumerate(self.sites(outline))
        }
        return Layout(counts, network=outline)

    def _filled(self, outline: Outline, shares: Shares, rng: np.random.Generator) -> Layout:
        """Return the layout after as many units took larger kernels as the budget allows.

        If it exceeds the budget at first, units take smaller kernels until it is kept. Moves are made in a
        fixed random order; their number is found by bisection. If no kernel is left that contains a unit's
        own (or is contained in it), the unit takes another kernel with more (or fewer) taps.
        """
        layout, sites = self._layout(outline, shares), self.sites(outline)
        larger = max(self.prices(layout)) <= 1
        units = [site for site in sites for _ in site.units]
        turns = [
            Turn(units[index], rng.random(), nested)
            for nested in (True, True, True, False, False)
            for index in rng.permutation(len(units))
        ]
        low, high = 0, len(turns)
        while low < high:
            middle = (low + high + 1) // 2 if larger else (low + high) // 2
            keeps = max(self.prices(moved(layout, turns[:middle], larger=larger))) <= 1
            if larger:
                low, high = (middle, high) if keeps else (low, middle - 1)
            else:
                low, high = (low, middle) if keeps else (middle + 1, high)
        return moved(layout, turns[:low], larger=larger)

    def _flat(self, outline: Outline) -> Shares:
        """Return the shares of `op=cakes`: an equal split of lines and planes, if there are any."""
        found = Shares()
        for turn, site in enumerate(self.sites(outline)):
            flat = [kernel for kernel in site.kernels if _is_flat(kernel, site)]
            counts = split(site.conv, flat or site.kernels, _ALIGN, turn)
            shares = np.array([float(counts.get(kernel, 0)) for kernel in site.kernels])
            found[site.conv.name] = shares / shares.sum()
        return found

    def _even(self, outline: Outline) -> Shares:
        return {
            site.conv.name: np.full(len(site.kernels), 1 / len(site.kernels)) for site in self.sites(outline)
        }

    def _dense(self, outline: Outline) -> Shares:
        return {
            site.conv.name: np.array([float(kernel == _dense(site)) for kernel in site.kernels])
            for site in self.sites(outline)
        }

    def _can_be_dense(self) -> bool:
        """Return whether the narrowest planned network with dense kernels alone keeps the budget."""
        planned = self.outlines[0]
        known = all(_dense(site) in site.kernels for site in self.sites(planned))
        return self.free and known and self._keeps(self._scaled(planned, -_SCALES), self._dense(planned))


def variants(planned: Outline) -> tuple[Outline, ...]:
    """Return the planned levels, the levels without the finest, and the levels without the deepest.

    Without the finest level, the next one takes its stride too, so all suit the same patch. A network keeps
    at least two levels.
    """
    if len(planned.widths) < 3:
        return (planned,)
    stem = tuple(a * b for a, b in zip(planned.strides[0], planned.strides[1], strict=True))
    coarse = Outline(
        planned.widths[1:],
        ((stem[0], stem[1], stem[2]), *planned.strides[2:]),
        planned.kernels[1:],
        planned.decoder_width,
    )
    shallow = Outline(planned.widths[:-1], planned.strides[:-1], planned.kernels[:-1], planned.decoder_width)
    return planned, coarse, shallow


def _rounded(widths: Sequence[float], step: int) -> tuple[int, ...]:
    return tuple(max(step, step * round(width / step)) for width in widths)


def _dense(site: Site) -> Kernel:
    return Kernel(site.conv.kernel)


def _is_flat(kernel: Kernel, site: Site) -> bool:
    """Return whether a kernel is a line or plane: 1 tap along an axis where the dense one has more."""
    thin = any(taps == 1 < whole for taps, whole in zip(kernel.size, site.conv.kernel, strict=True))
    return thin and kernel.taps > 1 and kernel.dilation == 1
