"""What every tracker can do, and the one that does nothing beyond the run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

Row = Mapping[str, float | None]
"""A row of metrics.csv."""


class Tracker(Protocol):
    """Follows one run."""

    def follow(self, history: Sequence[Row]) -> None:
        """Tell the rows that were not told yet."""

    def finish(self) -> None:
        """Tell what the run folder says of settings, results and cases."""


class NoTracker:
    """metrics.csv and the report are all there is."""

    def __init__(self, run: Path, *, going_on: bool) -> None:
        """Take what every tracker takes: the run folder, and whether an interrupted run goes on in it."""

    def follow(self, history: Sequence[Row]) -> None:
        """Nothing: the training writes metrics.csv itself."""

    def finish(self) -> None:
        """Nothing: the report is in the run folder."""
