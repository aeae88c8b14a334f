"""Warnings about single scans that do not stop the run, and their summary by kind."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.core.listed import listed


@dataclass(frozen=True)
class ScanWarning:
    """A warning about one scan: its kind, by which warnings are counted, and a sentence."""

    kind: str
    text: str

    def __str__(self) -> str:
        """Return the sentence alone."""
        return self.text


def warning_lines(warnings: Mapping[str, Sequence[ScanWarning]]) -> Iterator[str]:
    """Yield one line per kind of warning: in how many scans, which scans, and the first scan's sentence.

    `warnings` has the warnings of each scan by its name, with an empty list for scans without any.
    """
    by_kind: dict[str, dict[str, str]] = defaultdict(dict)
    for scan, found in warnings.items():
        for warning in found:
            by_kind[warning.kind].setdefault(scan, warning.text)
    for scans in by_kind.values():
        first = next(iter(scans.values()))
        told = first if len(set(scans.values())) == 1 else f"for example {first}"
        yield f"{len(scans)} of {len(warnings)} scans ({listed(scans)}): {told}"
