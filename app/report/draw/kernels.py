"""Charts of kernel layouts: the share of each kernel in each convolution's output channels, by depth."""

import math
import re
from collections.abc import Sequence

from matplotlib.axes import Axes

from app.core import run_folder
from app.core.errors import InputError
from app.report.draw.chart import CARD, Chart, Key, chart, key, series_color
from app.report.draw.shares import draw_shares
from app.report.read.records import numbers
from app.report.read.runs import Run

KernelShares = dict[str, dict[str, float]]
_ROW = 0.28  # inches per convolution
_LONGEST_NAME = 24  # characters


def layouts(runs: Sequence[Run]) -> dict[str, KernelShares]:
    """Return the layouts of the runs that have one, by run name.

    Raises:
        InputError: a layout.yaml does not map convolutions to kernels to channels.
    """
    return {run.name: _layout(run) for run in runs if run.layout is not None}


def kernel_charts(found: dict[str, KernelShares]) -> list[Chart]:
    """Return one chart per layout, with one bar per convolution in the order of the file."""
    kernels = _kernels(found)
    return [_chart(name, layout, kernels) for name, layout in found.items() if layout]


def legend(found: dict[str, KernelShares]) -> list[Key]:
    """Return the legend of the bars' colours."""
    return [key(kernel, index) for index, kernel in enumerate(_kernels(found))]


def _layout(run: Run) -> KernelShares:
    where = f"{run.folder / run_folder.LAYOUT}: convolutions"
    convolutions = (run.layout or {}).get("convolutions")
    if not isinstance(convolutions, dict):
        raise InputError(f"{where}: got {convolutions!r}, wanted a mapping of names to kernels")
    return {
        str(name): {kernel: count or 0.0 for kernel, count in numbers(shares, where=where).items()}
        for name, shares in convolutions.items()
    }


def _kernels(found: dict[str, KernelShares]) -> list[str]:
    names = {kernel for layout in found.values() for shares in layout.values() for kernel in shares}
    return sorted(names, key=lambda name: (math.prod(map(int, re.findall(r"\d{1,4}", name))), name))


def _chart(run: str, layout: KernelShares, kernels: Sequence[str]) -> Chart:
    def draw(axes: Axes) -> None:
        draw_shares(axes, [*layout.values()], kernels, series_color, height=0.74, edgecolor=CARD)
        for row, shares in enumerate(layout.values()):
            axes.text(1.02, row, f"{sum(shares.values()):g}", va="center", clip_on=False, fontsize=9)
        axes.set_yticks(range(len(layout)), [_short(name) for name in layout])
        axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        axes.set_xlabel("share of output channels (number on the right)")
        axes.grid(visible=False, axis="y")

    title = f"Kernels of {run}"
    alt = f"{title}: {len(layout)} convolutions, {', '.join(kernels)}"
    return chart(title, alt, draw, height=0.7 + _ROW * len(layout))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else "…" + name[1 - _LONGEST_NAME :]
