"""Settings of a study; their values are in conf/tune."""

from dataclasses import dataclass
from typing import Any

from app.core.errors import InputError


@dataclass(frozen=True)
class TuneSettings:
    """The number of trials, the objectives and the search space of a study."""

    trials: int
    """Trainings in total, including those before an interruption."""
    at_once: int
    """Trainings proposed together: as many as the launcher runs in parallel."""
    objectives: dict[str, str]
    """Figures of summary.json, each to maximize or to minimize."""
    space: dict[str, Any]
    """Sections of keys; for each key a list of values, or low and high, with log or step."""

    def __post_init__(self) -> None:
        """Validate values."""
        for name in ("trials", "at_once"):
            if getattr(self, name) < 1:
                raise InputError(f"tune.{name}: got {getattr(self, name)}, wanted at least 1")
        for name, way in self.objectives.items():
            if way not in ("maximize", "minimize"):
                raise InputError(f"tune.objectives.{name}: got {way!r}, wanted maximize or minimize")
