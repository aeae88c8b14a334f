"""The history of a training as metrics.csv."""

from collections.abc import Sequence
from pathlib import Path

from app.core.csv_file import six_digits, write_csv
from app.train.state import Row


def write_metrics(path: Path, history: Sequence[Row]) -> None:
    """Write one row per epoch; an empty cell is undefined."""
    rows = [{name: six_digits(value) for name, value in row.items()} for row in history]
    write_csv(path, rows, header=("step",))
