"""The history of a training as metrics.csv."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from app.core.files import write_text
from app.train.state import Row


def write_metrics(path: Path, history: Sequence[Row]) -> None:
    """One row an epoch; an empty cell is undefined."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]) if history else ["step"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _shown(value) for key, value in row.items()} for row in history)
    write_text(path, text.getvalue())


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
