"""The reliability curve: the share of correct voxels by certainty, with and without temperature."""

from typing import Any

from matplotlib.axes import Axes

from app.report.draw.chart import LINE, Chart, Key, chart, key, series_color
from app.report.read.records import Mapping

_LEAST_SHARE = 0.001


def reliability(found: Mapping | None) -> list[Chart]:
    """Draw the curves of calibration.json; no chart without it."""
    if not found:
        return []
    curves = [found, *([found["temperature"]] if found.get("temperature") else [])]

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.2)
        for index, curve in enumerate(curves):
            _draw_curve(axes, curve["bins"], series_color(index))
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("certainty")
        axes.set_ylabel("share of correct voxels")

    figures = ", ".join(f"ECE {curve['ece']:.3f}" for curve in curves)
    return [chart("Reliability", f"Reliability of certainty; {figures}", draw)]


def legend(found: Mapping | None) -> list[Key]:
    """Return the legend of the colours."""
    names = ["as trained", *(["with temperature"] if found and found.get("temperature") else [])]
    return [key(name, index) for index, name in enumerate(names)]


def _draw_curve(axes: Axes, bins: list[dict[str, Any]], color: str) -> None:
    """Draw a line with dots whose area shows the share of voxels.

    Bins with less than `_LEAST_SHARE` of the voxels are left out.
    """
    bins = [one for one in bins if one["share"] >= _LEAST_SHARE]
    x, y = ([one[name] for one in bins] for name in ("confidence", "accuracy"))
    axes.plot(x, y, color=color, linewidth=1.2)
    axes.scatter(x, y, s=[6 + 60 * one["share"] for one in bins], color=color, linewidths=0)
