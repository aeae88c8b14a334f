"""The interface of a tracker, and the tracker that does nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from app.train.metrics_csv import MetricsRow


class Tracker(Protocol):
    """A receiver of one run's history and results."""

    def follow(self, history: Sequence[MetricsRow]) -> None:
        """Send the rows that are new."""

    def finish(self) -> None:
        """Send the settings, results and cases in the run folder."""


class NoTracker:
    """A tracker that does nothing: metrics.csv and the report are in the run folder anyway."""

    def __init__(self, run: Path, *, resumed: bool) -> None:
        """Accept the arguments of every tracker: the run folder, and whether an interrupted run resumes."""

    def follow(self, history: Sequence[MetricsRow]) -> None:
        """Do nothing: the training itself writes metrics.csv."""

    def finish(self) -> None:
        """Do nothing: the report is in the run folder."""
