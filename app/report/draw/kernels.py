"""The searched kernel layout: how the output channels of each convolution are shared out, over depth."""

import math
import re
from collections.abc import Sequence

from matplotlib.axes import Axes

from app.core.errors import InputError
from app.report.draw.chart import CARD, Chart, Key, chart, key, series_color
from app.report.read.records import numbers
from app.report.read.runs import Run

Layout = dict[str, dict[str, float]]
_ROW = 0.28  # inches a convolution


def layouts(runs: Sequence[Run]) -> dict[str, Layout]:
    """The layouts of the runs that have one, by run name.

    Raises:
        InputError: a layout.yaml does not map convolutions to kernels to channels.
    """
    return {run.name: _layout(run) for run in runs if run.layout is not None}


def kernel_charts(found: dict[str, Layout]) -> list[Chart]:
    """One chart a layout, a bar a convolution in the order of the file."""
    kernels = _kernels(found)
    return [_chart(name, layout, kernels) for name, layout in found.items() if layout]


def legend(found: dict[str, Layout]) -> list[Key]:
    """What the colours of the bars mean."""
    return [key(kernel, index) for index, kernel in enumerate(_kernels(found))]


def _layout(run: Run) -> Layout:
    where = f"{run.folder / 'layout.yaml'}: convolutions"
    convolutions = (run.layout or {}).get("convolutions")
    if not isinstance(convolutions, dict):
        raise InputError(f"{where}: got {convolutions!r}, wanted a mapping of names to kernels")
    return {
        str(name): {kernel: count or 0.0 for kernel, count in numbers(shares, where=where).items()}
        for name, shares in convolutions.items()
    }


def _kernels(found: dict[str, Layout]) -> list[str]:
    names = {kernel for layout in found.values() for shares in layout.values() for kernel in shares}
    return sorted(names, key=lambda name: (math.prod(map(int, re.findall(r"\d{1,4}", name))), name))


def _chart(run: str, layout: Layout, kernels: Sequence[str]) -> Chart:
    def draw(axes: Axes) -> None:
        for row, shares in enumerate(layout.values()):
            _draw_bar(axes, row, shares, kernels)
        axes.set_yticks(range(len(layout)), [_short(name) for name in layout])
        axes.set_ylim(len(layout) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        axes.set_xlabel("share of output channels (count at the right)")
        axes.grid(visible=False, axis="y")

    title = f"Kernels of {run}"
    alt = f"{title}: {len(layout)} convolutions, {', '.join(kernels)}"
    return chart(title, alt, draw, height=0.7 + _ROW * len(layout))


def _draw_bar(axes: Axes, row: int, shares: dict[str, float], kernels: Sequence[str]) -> None:
    total = sum(shares.values())
    left = 0.0
    for index, kernel in enumerate(kernels):
        width = shares.get(kernel, 0.0) / total if total else 0.0
        if width:
            axes.barh(row, width, left=left, height=0.74, color=series_color(index), edgecolor=CARD)
        left += width
    axes.text(1.02, row, f"{total:g}", va="center", clip_on=False, fontsize=9)


def _short(name: str, longest: int = 24) -> str:
    return name if len(name) <= longest else "…" + name[1 - longest :]
