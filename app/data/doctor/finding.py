"""What the doctor found, how bad it is, and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """An error stops training or makes its result wrong, a warning may, a note is worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing; `kind` is the name of the rule that found it."""

    kind: str
    severity: Severity
    found: str
    advice: str
    repairable: bool = False
    """Whether a repaired copy can be written without a guess."""

    def __str__(self) -> str:
        """As a sentence of a table."""
        return f"{self.severity}: {self.found}; {self.advice}"


def error(kind: str, found: str, advice: str, *, repairable: bool = False) -> Finding:
    """Training would stop, or its result would be wrong."""
    return Finding(kind, Severity.ERROR, found, advice, repairable)


def warning(kind: str, found: str, advice: str) -> Finding:
    """May be right; a person should look."""
    return Finding(kind, Severity.WARNING, found, advice)


def note(kind: str, found: str, advice: str, *, repairable: bool = False) -> Finding:
    """Nothing to do."""
    return Finding(kind, Severity.NOTE, found, advice, repairable)
