"""Numbers, durations and values as text; None becomes a dash."""

from collections.abc import Iterable
from typing import Any

from app.metrics.metric import Metric
from app.metrics.statistics import Interval

DASH = "\N{EN DASH}"


def decimals(value: float | None, places: int) -> str:
    """Format with fixed decimals: 0.8434 -> 0.843 for three places."""
    return DASH if value is None else f"{value:,.{places}f}"


def dice_text(value: float | None) -> str:
    """Format a Dice: 0.84341 -> 0.8434; None (the label is in neither volume) -> undefined."""
    return "undefined" if value is None else f"{value:.4f}"


def signed(value: float) -> str:
    """Format with a sign: 0.0123 -> +0.0123."""
    return f"{value:+.4f}"


def probability(value: float | None) -> str:
    """Format a p value: 0.0213 -> 0.021, and < 0.001 if it would round to zero."""
    return "< 0.001" if value is not None and value < 0.0005 else decimals(value, 3)


def whole(value: float | None) -> str:
    """Format as a whole number: 1234567 -> 1,234,567."""
    return DASH if value is None else f"{value:,.0f}"


def scaled(value: float | None, digits: int = 3) -> str:
    """Format with a unit prefix: 1234567 -> 1.23 M."""
    if value is None:
        return DASH
    rounded = float(f"{value:.{digits}g}")
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(rounded) >= size:
            return f"{rounded / size:.{digits}g} {letter}"
    return f"{rounded:.{digits}g}"


def measured(metric: Metric, value: float | None) -> str:
    """Format a value in its metric's unit: 0.843, 2.31, +4.2 %, 1.23 (mm3 in ml), 0.50 (lesions)."""
    if value is None:
        return DASH
    if metric.name == "volume_error":
        return f"{100 * value:+.1f} %"
    if metric.unit == "mm3":
        return f"{value / 1000:.3g}"
    return decimals(value, 2 if metric.unit or metric.high > 1 else 3)


def titled(metric: Metric) -> str:
    """Return the title of a metric with the unit that `measured` uses."""
    unit = "ml" if metric.unit == "mm3" else metric.unit
    return f"{metric.title} ({unit})" if unit else metric.title


def interval_text(metric: Metric, found: Interval | None) -> str:
    """Format an interval; `measured` formats its ends."""
    return DASH if found is None else f"{measured(metric, found.low)} to {measured(metric, found.high)}"


def duration(seconds: float | None) -> str:
    """Format seconds: 4000 -> 1 h 06 min."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def plain_text(value: Any) -> str:
    """Format a value of a YAML or JSON file in one line, also lists and mappings; 1.523 for 1.5234400."""
    if value is None:
        return DASH
    if isinstance(value, dict):
        return "; ".join(f"{key}: {plain_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(
            f"({plain_text(item)})" if isinstance(item, list) else plain_text(item) for item in value
        )
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the defined values; None if there are none."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def mean_of(values: Iterable[float | None], places: int) -> str:
    """Return the mean as text; if some values are undefined, it gives the number of defined ones."""
    listed = list(values)
    defined = [value for value in listed if value is not None]
    text = decimals(mean(defined), places)
    return text if len(defined) in (0, len(listed)) else f"{text} ({len(defined)} of {len(listed)} labels)"
