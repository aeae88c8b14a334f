"""Layouts of a convolution's channels as shares of its kernels, in whole units, and moves between kernels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from app.core.kernel import Kernel
from app.core.layout import Layout
from app.search.costs import Site


def shares_of(site: Site, layout: Layout) -> NDArray[np.float64]:
    """Return the shares of kernels in a layout; equal ones for a convolution that it lacks."""
    counts = layout.convolutions.get(site.conv.name, {})
    found = np.array([float(counts.get(kernel, 0)) for kernel in site.kernels])
    return found / found.sum() if found.any() else np.full(len(found), 1 / len(found))


def counts_of(site: Site, shares: NDArray[np.float64], turn: int = 0) -> dict[Kernel, int]:
    """Return the channels per kernel in whole units; remaining units go to the shares that were cut most.

    Among kernels with equal shares, the remaining units begin at another kernel for each `turn`, so that
    no kernel gets more in every convolution.
    """
    channels = site.conv.out_channels
    units = channels // site.unit
    wanted = shares * units
    whole = np.floor(wanted).astype(int)
    left = units - int(whole.sum())
    turned = np.roll(np.arange(len(shares)), -turn * left)
    whole[turned[np.argsort((whole - wanted)[turned], kind="stable")[:left]]] += 1
    whole *= site.unit
    whole[turned[np.argmax(shares[turned])]] += channels - int(whole.sum())
    return {kernel: int(n) for kernel, n in zip(site.kernels, whole, strict=True) if n}


@dataclass(frozen=True)
class Turn:
    """A move of one unit of a convolution to another kernel."""

    site: Site
    draw: float
    """A random number in [0, 1) that chooses the unit, and the next kernel if there are several."""
    nested: bool
    """Whether the next kernel must have all taps of this one (or, for a smaller one, only taps of it)."""


def moved(layout: Layout, turns: Sequence[Turn], *, larger: bool) -> Layout:
    """Return the layout after one move per turn: a unit takes the next larger (or smaller) kernel."""
    named = {name: dict(counts) for name, counts in layout.convolutions.items()}
    for turn in turns:
        site, counts = turn.site, named[turn.site.conv.name]
        steps = _steps(site.kernels, larger, turn.nested)
        ways = [(kernel, after) for kernel in counts for after in steps[kernel]]
        if not ways:
            continue
        weights = [math.ceil(counts[kernel] / site.unit) / len(steps[kernel]) for kernel, _ in ways]
        chosen = np.searchsorted(np.cumsum(weights), turn.draw * sum(weights), side="right")
        kernel, after = ways[min(int(chosen), len(ways) - 1)]
        count = min(site.unit, counts[kernel])
        counts[kernel] -= count
        counts[after] = counts.get(after, 0) + count
        named[site.conv.name] = {k: counts[k] for k in site.kernels if counts.get(k, 0)}
    return replace(layout, convolutions=named)


@cache
def _steps(kernels: tuple[Kernel, ...], larger: bool, nested: bool) -> dict[Kernel, list[Kernel]]:
    """Return by kernel the next ones: those with the fewest taps above its own (or the most below)."""
    found = {}
    for kernel in kernels:
        others = [
            other
            for other in kernels
            if (other.taps > kernel.taps if larger else other.taps < kernel.taps)
            and (not nested or (_contains(other, kernel) if larger else _contains(kernel, other)))
        ]
        nearest = min((abs(other.taps - kernel.taps) for other in others), default=0)
        found[kernel] = [other for other in others if abs(other.taps - kernel.taps) == nearest]
    return found


def _contains(outer: Kernel, inner: Kernel) -> bool:
    """Return whether `outer` has all taps of `inner`."""
    pairs = zip(outer.size, inner.size, strict=True)
    return all(
        set(_places(taps, outer.dilation)) >= set(_places(fewer, inner.dilation)) for taps, fewer in pairs
    )


def _places(taps: int, dilation: int) -> range:
    """Return the places of the taps along an axis; the middle one is at 0."""
    return range(-(taps // 2) * dilation, taps // 2 * dilation + 1, dilation)
