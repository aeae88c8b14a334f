"""A picture of the receptive field through a network."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.analyze.convolutions import Layer
from app.core.files import atomic_path
from app.core.types import Size

_AXES = "DHW"


def draw_layers(path: Path, layers: Sequence[Layer], patch: Size) -> None:
    """Write a PNG: fields by axis with their range over channels above scores and multiply-adds."""
    figure = Figure(figsize=(1.5 + 0.45 * len(layers), 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _draw_fields(above, layers, patch)
    _draw_scores(below, layers)
    below.set_xticks(range(len(layers)), [layer.name for layer in layers], rotation=60, ha="right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_fields(axes: Axes, layers: Sequence[Layer], patch: Size) -> None:
    for axis, name in enumerate(_AXES):
        places = [place + 0.2 * (axis - 1) for place in range(len(layers))]
        mean = [layer.field_mean[axis] for layer in layers]
        low = [layer.field_mean[axis] - layer.field_min[axis] for layer in layers]
        high = [layer.field_max[axis] - layer.field_mean[axis] for layer in layers]
        axes.errorbar(places, mean, yerr=[low, high], fmt="o", markersize=4, capsize=2, label=name)
        axes.axhline(patch[axis], color=f"C{axis}", linewidth=0.6, linestyle=":")
    axes.set_ylabel("receptive field, voxels\n(mean; bars: least and most over channels)")
    axes.legend(title="dotted: patch", loc="upper left")


def _draw_scores(axes: Axes, layers: Sequence[Layer]) -> None:
    places = range(len(layers))
    axes.bar(places, [layer.macs / 1e6 for layer in layers], color="0.8")
    axes.set_ylabel("million multiply-adds (bars)")
    score = axes.twinx()
    score.plot(places, [layer.score for layer in layers], "ko-", markersize=4)
    score.set_ylabel("3DRF score, our formulation (line)")
