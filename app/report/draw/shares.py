"""Stacked bars: the shares of kernels in the output channels of each convolution."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from matplotlib.axes import Axes

_Kernel = TypeVar("_Kernel")


def draw_shares(
    axes: Axes,
    rows: Sequence[Mapping[_Kernel, float]],
    kernels: Sequence[_Kernel],
    color: Callable[[int], str],
    **style: Any,
) -> None:
    """Draw one bar per row from the top, `kernels` from left to right; `color` takes a kernel's index."""
    left = [0.0] * len(rows)
    for index, kernel in enumerate(kernels):
        widths = {
            row: counts[kernel] / sum(counts.values())
            for row, counts in enumerate(rows)
            if counts.get(kernel)
        }
        starts = [left[row] for row in widths]
        axes.barh([*widths], [*widths.values()], left=starts, color=color(index), label=str(kernel), **style)
        for row, width in widths.items():
            left[row] += width
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
