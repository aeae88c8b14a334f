"""Draw docs/images/cakes.png, the kernels of CAKES by channel: python docs/scripts/cakes_figure.py"""

from itertools import product
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

PICTURE = Path(__file__).parents[1] / "images" / "cakes.png"
Span = tuple[int, int, int]
"""Extent of a kernel along (depth, height, width) in voxels, 1 or 3 each."""

DENSE: Span = (3, 3, 3)
KERNELS: list[tuple[Span, str, int, str]] = [
    ((3, 1, 1), "3x1x1", 3, "1D"),
    ((1, 3, 1), "1x3x1", 3, "1D"),
    ((1, 1, 3), "1x1x3", 3, "1D"),
    ((1, 3, 3), "1x3x3", 9, "2D"),
    ((3, 1, 3), "3x1x3", 9, "2D"),
    ((3, 3, 1), "3x3x1", 9, "2D"),
    ((3, 3, 3), "3x3x3", 27, "3D"),
]
COLOURS = {"1D": "#d95f02", "2D": "#1b9e77", "3D": "#7570b3"}
INK = "#303030"
PALE = "#e4e4e4"
STEP = (0.52, 0.34)
"""Offset of one voxel of depth on the page."""


def draw_box(axes: Axes, span: Span, colour: str, left: float, bottom: float) -> None:
    """Draw a 3x3x3 box whose voxels inside the kernel are filled, from the back to the front."""
    size = 0.44
    for depth, height, width in product((2, 1, 0), (0, 1, 2), (0, 1, 2)):
        inside = all(extent == 3 or at == 1 for at, extent in zip((depth, height, width), span, strict=True))
        x = left + size * (width + STEP[0] * depth)
        y = bottom + size * (height + STEP[1] * depth)
        draw_voxel(axes, (x, y), size, colour if inside else PALE, 0.95 if inside else 0.16)


def draw_voxel(axes: Axes, corner: tuple[float, float], size: float, colour: str, alpha: float) -> None:
    """Draw the front, the top and the right side of a cube."""
    x, y = corner
    s, dx, dy = size * 0.9, size * 0.9 * STEP[0], size * 0.9 * STEP[1]
    top = [(x, y + s), (x + s, y + s), (x + s + dx, y + s + dy), (x + dx, y + s + dy)]
    side = [(x + s, y), (x + s + dx, y + dy), (x + s + dx, y + s + dy), (x + s, y + s)]
    style = {"facecolor": colour, "edgecolor": INK, "linewidth": 0.4, "alpha": alpha}
    for polygon in (top, side):
        axes.add_patch(Polygon(polygon, **style))
    axes.add_patch(Rectangle((x, y), s, s, **style))


def draw_channels(axes: Axes, groups: list[tuple[str, int, str]], bottom: float) -> None:
    """Draw one square per output channel, each group in the colour of its kernel."""
    x = 0.35
    for name, channels, family in groups:
        for _ in range(channels):
            square = Rectangle((x, bottom), 0.33, 0.33, facecolor=COLOURS[family], edgecolor="white")
            axes.add_patch(square)
            x += 0.36
        axes.text(x - 0.18 * channels, bottom - 0.36, name, ha="center", fontsize=11, color=INK)
        x += 0.14


def main() -> None:
    """Write the picture."""
    mpl.rcParams["font.family"] = "DejaVu Sans"
    figure = Figure(figsize=(7.5, 7.9), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 10.1)
    axes.set_ylim(0, 10.64)
    axes.set_aspect("equal")
    axes.axis("off")
    title = {"fontsize": 14, "color": INK, "weight": "bold"}
    axes.text(0.3, 10.1, "Kernels: the weights of a 3x3x3 box that a channel keeps", **title)
    for number, (span, name, weights, family) in enumerate(KERNELS):
        x, y = (0.35 + 2.45 * number, 7.9) if number < 3 else (0.35 + 2.45 * (number - 3), 5.0)
        draw_box(axes, span, COLOURS[family], x, y)
        axes.text(x + 0.85, y - 0.45, f"{family}  {name}", ha="center", fontsize=13, color=INK)
        axes.text(x + 0.85, y - 0.85, f"{weights} weights", ha="center", fontsize=12, color=INK)
    axes.text(0.3, 3.4, "Layout: one kernel for each of 24 output channels", **title)
    text = {"fontsize": 13, "color": INK}
    axes.text(0.3, 2.8, "dense: 648 weights per input channel", **text)
    draw_channels(axes, [("24 channels 3x3x3", 24, "3D")], 2.3)
    axes.text(0.3, 1.35, "mixed (CAKES): 144 weights per input channel", **text)
    draw_channels(axes, [(name, 4, family) for _, name, _, family in KERNELS[:6]], 0.85)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
