"""Slices of a case in three planes with contours of reference and prediction, as inline WebP."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from app.core.palette import grey_window, label_color
from app.report.read.scans import Scan, Voxels

Outlined = Sequence[tuple[int, ...]]
"""The label values inside each contour."""
_LONGEST = 3.4  # inches
_DPI = 140  # sharp on a phone
_QUALITIES = (85, 60, 30, 5)
_MOST_BYTES = 16_000  # of one slice; six cases of 21 slices then stay below 3 MB in base64
_SLICES = 7  # per plane


@dataclass(frozen=True)
class _View:
    """A plane as radiologists view it: the axis it cuts, its horizontal and vertical axes, and its edges."""

    name: str
    cut: int
    flat: int
    upright: int
    left: str
    top: str


# Canonical axes are (right, anterior, superior). Columns are drawn in reverse, so these letters are at the
# left.
_VIEWS = (
    _View("Axial", cut=2, flat=0, upright=1, left="R", top="A"),
    _View("Coronal", cut=1, flat=0, upright=2, left="R", top="S"),
    _View("Sagittal", cut=0, flat=1, upright=2, left="A", top="S"),
)


@dataclass(frozen=True)
class Slice:
    """A drawn slice; `fullest` marks the one shown first."""

    text: str
    image: str
    fullest: bool


@dataclass(frozen=True)
class Plane:
    """The slices of one plane through the foreground, in order; one of them is the fullest."""

    name: str
    slices: list[Slice]


def planes(scan: Scan, outlined: Outlined, at: Voxels) -> list[Plane]:
    """Return axial, coronal and sagittal slices.

    The fullest slice of a plane has the most voxels of `at`.
    """
    window, encode = grey_window(scan.image), _Encoder()
    found = []
    for view in _VIEWS:
        fullest, count = fullest_slice(at, scan.prediction, view.cut), scan.image.shape[view.cut]
        slices = [
            Slice(
                f"slice {index + 1} of {count}",
                encode(_draw(scan, view, index, outlined, window)),
                index == fullest,
            )
            for index in spread_slices(scan.reference, scan.prediction, view.cut, at)
        ]
        found.append(Plane(view.name, slices))
    return found


def fullest_planes(scan: Scan, outlined: Outlined) -> list[tuple[str, Figure]]:
    """Return the slice with the most foreground of each plane, with the plane's name."""
    window = grey_window(scan.image)
    places = [fullest_slice(scan.reference, scan.prediction, view.cut) for view in _VIEWS]
    return [
        (view.name, _draw(scan, view, index, outlined, window))
        for view, index in zip(_VIEWS, places, strict=True)
    ]


def legend(labels: Iterable[str]) -> list[tuple[str, str]]:
    """Return label names and the colours of their contours."""
    return [(name, label_color(index)) for index, name in enumerate(labels)]


def fullest_slice(reference: Voxels, prediction: Voxels, axis: int) -> int:
    """Return the slice with the most foreground of the reference, or of the prediction if that is empty."""
    others = tuple(other for other in range(3) if other != axis)
    for volume in (reference, prediction):
        count = np.count_nonzero(volume, axis=others)
        if count.any():
            return int(np.argmax(count))
    return int(reference.shape[axis]) // 2


def spread_slices(reference: Voxels, prediction: Voxels, axis: int, at: Voxels) -> list[int]:
    """Return slices spread evenly over the foreground of both volumes.

    The fullest slice of `at` replaces the one nearest to it.
    """
    fullest = fullest_slice(at, prediction, axis)
    others = tuple(other for other in range(3) if other != axis)
    marked = np.flatnonzero(((reference > 0) | (prediction > 0)).any(axis=others))
    if not len(marked):
        return [fullest]
    count = min(_SLICES, int(marked[-1] - marked[0]) + 1)
    even = np.round(np.linspace(marked[0], marked[-1], count)).astype(int)
    even[np.abs(even - fullest).argmin()] = fullest
    return [int(index) for index in even]


def _draw(scan: Scan, view: _View, index: int, outlined: Outlined, window: tuple[float, float]) -> Figure:
    image, reference, prediction = (
        _cut(volume, view, index) for volume in (scan.image, scan.reference, scan.prediction)
    )
    width = image.shape[1] * scan.spacing[view.flat]
    height = image.shape[0] * scan.spacing[view.upright]
    figure = Figure(figsize=_size(width, height), dpi=_DPI, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], origin="lower", aspect="auto")
    for order, values in enumerate(outlined):
        theirs, ours = np.isin(reference, values), np.isin(prediction, values)
        _contour(axes, theirs, label_color(order))
        _contour(axes, ours, label_color(order), dashed=True, pale=bool(theirs.any()))
    axes.set_xlim(-0.5, image.shape[1] - 0.5)  # contours reach one voxel beyond the edge
    axes.set_ylim(-0.5, image.shape[0] - 0.5)
    _letters(axes, view)
    axes.set_axis_off()
    return figure


def _cut(volume: Voxels, view: _View, index: int) -> Voxels:
    """Return a slice as rows from bottom to top and columns from the side named `left`."""
    plane: Voxels = np.take(volume, index, axis=view.cut)
    return plane.T[:, ::-1]


def _size(width: float, height: float) -> tuple[float, float]:
    scale = _LONGEST / max(width, height)
    return max(width * scale, 0.3), max(height * scale, 0.3)


def _contour(axes: Axes, mask: Voxels, color: str, *, dashed: bool = False, pale: bool = False) -> None:
    """Draw the contour of a mask; pale dashes stay visible on top of a solid line."""
    if not mask.any():
        return
    rows, columns = (np.arange(-1, size + 1) for size in mask.shape)
    tint = tuple(0.45 * part + 0.55 for part in to_rgb(color)) if pale else color
    style = [(0, (3.0, 2.2))] if dashed else ["solid"]
    axes.contour(
        columns, rows, np.pad(mask, 1).astype(float), [0.5], colors=[tint], linewidths=1.3, linestyles=style
    )


def _letters(axes: Axes, view: _View) -> None:
    box = {"facecolor": "black", "alpha": 0.5, "pad": 1.5, "linewidth": 0}
    at: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    for x, y, letter in ((0.04, 0.5, view.left), (0.5, 0.96, view.top)):
        axes.text(x, y, letter, color="white", fontsize=8, bbox=box, **at)


class _Encoder:
    """An encoder of the slices of a scan, in the best quality that keeps them small enough, or the lowest.

    The slices of a scan are similar, so each begins with the quality of the one before.
    """

    def __init__(self) -> None:
        self._qualities = list(_QUALITIES)

    def __call__(self, figure: Figure) -> str:
        """Return the picture as a data URL."""
        drawn = io.BytesIO()
        figure.savefig(drawn, format="raw", facecolor="black")
        width, height = figure.canvas.get_width_height()
        picture = Image.frombuffer("RGBA", (width, height), drawn.getvalue())
        while len(encoded := _webp(picture, self._qualities[0])) > _MOST_BYTES and len(self._qualities) > 1:
            del self._qualities[0]
        return "data:image/webp;base64," + base64.b64encode(encoded).decode("ascii")


def _webp(picture: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="webp", quality=quality)
    return stream.getvalue()
