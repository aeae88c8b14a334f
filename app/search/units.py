"""Layouts of a convolution's channels as shares of its kernels, in whole units, and moves between kernels."""

from collections.abc import Sequence
from dataclasses import replace

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


def counts_of(site: Site, shares: NDArray[np.float64]) -> dict[Kernel, int]:
    """Return the channels per kernel in whole units; the largest share takes the remainder."""
    channels = site.conv.out_channels
    units = channels // site.unit
    wanted = shares * units
    whole = np.floor(wanted).astype(int)
    for index in np.argsort(whole - wanted, kind="stable")[: units - int(whole.sum())]:
        whole[index] += 1
    whole *= site.unit
    whole[int(np.argmax(shares))] += channels - int(whole.sum())
    return {kernel: int(n) for kernel, n in zip(site.kernels, whole, strict=True) if n}


def moved(layout: Layout, turns: Sequence[Site], *, larger: bool) -> Layout:
    """Return the layout after one move per turn: a unit takes the next larger (or smaller) kernel."""
    named = {name: dict(counts) for name, counts in layout.convolutions.items()}
    for site in turns:
        counts = named[site.conv.name]
        steps = _steps(site, larger=larger)
        start = next((kernel for kernel in steps if kernel in counts), None)
        if start is None:
            continue
        count = min(site.unit, counts[start])
        counts[start] -= count
        counts[steps[start]] = counts.get(steps[start], 0) + count
        named[site.conv.name] = {k: counts[k] for k in site.kernels if counts.get(k, 0)}
    return replace(layout, convolutions=named)


def _steps(site: Site, *, larger: bool) -> dict[Kernel, Kernel]:
    """Return the next kernel with more (or fewer) taps by kernel, the smallest (or largest) first."""
    order = sorted(site.kernels, key=lambda kernel: kernel.taps, reverse=not larger)
    found = {}
    for index, kernel in enumerate(order):
        after = next((other for other in order[index:] if other.taps != kernel.taps), None)
        if after is not None:
            found[kernel] = after
    return found
