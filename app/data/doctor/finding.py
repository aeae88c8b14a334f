"""Findings of the check: a fault, its severity, and advice."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """The severity of a finding.

    An error stops training or makes its result wrong, a warning may do so, a note is information only.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """A fault or a fact worth knowing; `kind` is the name of the rule that found it."""

    kind: str
    severity: Severity
    found: str
    advice: str
    repairable: bool = False
    """Whether a repaired copy can be written without guessing."""

    def __str__(self) -> str:
        """Return the finding as one line of text."""
        return f"{self.severity}: {self.found}; {self.advice}"


SetFindings = Iterator[tuple[str, Finding]]
"""Findings between cases, each with the id of its case, or "" for the data set as a whole."""


def error(kind: str, found: str, advice: str, *, repairable: bool = False) -> Finding:
    """Return a finding that stops training or makes its result wrong."""
    return Finding(kind, Severity.ERROR, found, advice, repairable)


def warning(kind: str, found: str, advice: str) -> Finding:
    """Return a finding that a person should look at, but that may be correct."""
    return Finding(kind, Severity.WARNING, found, advice)


def note(kind: str, found: str, advice: str, *, repairable: bool = False) -> Finding:
    """Return a finding that is worth knowing but needs no action."""
    return Finding(kind, Severity.NOTE, found, advice, repairable)
