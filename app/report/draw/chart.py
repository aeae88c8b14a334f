"""The common style of all charts: inline SVG in the colours of the page's style sheet."""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Placeholder colours in matplotlib's output, which `_inline` replaces by variables of the style sheet.
INK, MUTED, LINE, CARD = "#010101", "#020202", "#030303", "#050505"
SERIES = tuple(f"#0404{index:02x}" for index in range(8))
DASHES = ("solid", "dashed", "dotted", "dashdot")
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", CARD: "--card"} | {
    color: f"--series-{index}" for index, color in enumerate(SERIES)
}
_WIDTH = 4.2  # inches; the page shows a chart about 330 px wide, so a point is about a pixel
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.parse_math": False,
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@dataclass(frozen=True)
class Chart:
    """A drawn chart, and a sentence that describes it to readers who cannot see it."""

    title: str
    alt: str
    svg: Markup


@dataclass(frozen=True)
class Key:
    """An entry of a legend: its name, the number of its colour (None: ink) and its dash."""

    name: str
    color: int | None
    dash: str = "solid"


def series_color(index: int) -> str:
    """Return the placeholder colour of the series with this index; colours repeat after eight."""
    return SERIES[index % len(SERIES)]


def series_dash(index: int) -> str:
    """Return the dash of the series with this index; it changes each time the colours repeat."""
    return DASHES[index // len(SERIES) % len(DASHES)]


def key(name: str, index: int) -> Key:
    """Return the legend entry of the series with this index."""
    return Key(name, index % len(SERIES), series_dash(index))


def chart(title: str, alt: str, draw: Callable[[Axes], None], *, height: float = 2.6) -> Chart:
    """Return the chart that `draw` draws on one pair of axes, `height` inches high."""
    with rc_context(_STYLE), warnings.catch_warnings():
        # The page's font draws the text; matplotlib only measures it.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True)
    prefix = re.sub(r"\W+", "-", title.lower()).strip("-")
    return Chart(title, alt, Markup(_inline(stream.getvalue(), prefix)))


def _inline(svg: str, prefix: str) -> str:
    """Remove parts of the SVG that pages do not need, make ids unique, and use the style sheet's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', svg, count=1)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return svg
