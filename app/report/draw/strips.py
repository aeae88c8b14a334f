"""Charts of the Dice of every held-out case, one dot per case.

A chart has one strip per label for a single run, and one strip per run for several.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from app.report.draw.chart import INK, Chart, chart, series_color
from app.report.read.runs import Run

_ROW = 0.42  # inches per strip
_LONGEST_NAME = 18  # characters


def strips(runs: Sequence[Run], labels: Sequence[str]) -> list[Chart]:
    """Return the charts of cases.csv; with several runs each strip is named by its run's number."""
    if len(runs) == 1:
        rows = {label: _dice(runs[0], label) for label in labels}
        return [_chart("Dice per case", rows)]
    return [
        _chart(
            f"Dice per case, {label}",
            {str(index + 1): _dice(run, label) for index, run in enumerate(runs)},
        )
        for label in labels
    ]


def _dice(run: Run, label: str) -> list[float]:
    found = (score.dice for score in run.scores or () if score.label == label)
    return [dice for dice in found if dice is not None]


def _chart(title: str, rows: dict[str, list[float]]) -> Chart:
    def draw(axes: Axes) -> None:
        for row, values in enumerate(rows.values()):
            _draw_strip(axes, row, values)
        axes.set_yticks(range(len(rows)), [_short(name) for name in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(*_limits(rows.values()))
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.set_xlabel("Dice (bar: median)")
        axes.grid(visible=False, axis="y")

    counts = ", ".join(f"{name}: {len(values)} cases" for name, values in rows.items())
    return chart(title, f"{title}; {counts}", draw, height=0.65 + _ROW * len(rows))


def _limits(strips: Iterable[Sequence[float]]) -> tuple[float, float]:
    """Return axis limits, from the tenth below the lowest value to 1, so that good runs differ visibly."""
    lowest = min((value for values in strips for value in values), default=0.0)
    start = min(math.floor(lowest * 10) / 10, 0.9)
    margin = 0.02 * (1 - start)
    return start - margin, 1 + margin


def _draw_strip(axes: Axes, row: int, values: Sequence[float]) -> None:
    """Draw dots; a fixed sequence spreads them vertically, so equal values stay apart and pages repeat."""
    spread = (np.arange(len(values)) * 0.618034 % 1 - 0.5) * 0.5  # the golden ratio is even at every count
    axes.scatter(values, row + spread, s=13, color=series_color(row), alpha=0.75, linewidths=0)
    if values:
        middle = float(np.median(values))
        axes.plot([middle, middle], [row - 0.34, row + 0.34], color=INK, linewidth=1.6)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
