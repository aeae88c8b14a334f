"""The history of a training as metrics.csv."""

from collections.abc import Sequence
from pathlib import Path

from app.core.csv_file import six_digits, write_csv

MetricsRow = dict[str, float | None]
"""A row of metrics.csv; None is undefined."""


def write_metrics(path: Path, history: Sequence[MetricsRow]) -> None:
    """Write one row per epoch; an empty cell is undefined."""
    rows = [{name: six_digits(value) for name, value in row.items()} for row in history]
    write_csv(path, rows, header=("step",))
