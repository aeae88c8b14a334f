"""What is odd about a scan and stops nothing: its kind, by which such are counted, and a sentence."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.core.listed import listed


@dataclass(frozen=True)
class Doubt:
    """One oddity of one scan."""

    kind: str
    text: str

    def __str__(self) -> str:
        """The sentence alone."""
        return self.text


def counted(doubts: Mapping[str, Sequence[Doubt]]) -> Iterator[str]:
    """Doubts by scan -> one line per kind: in how many scans, which, and the sentence of the first."""
    by_kind: dict[str, dict[str, str]] = defaultdict(dict)
    for scan, found in doubts.items():
        for doubt in found:
            by_kind[doubt.kind].setdefault(scan, doubt.text)
    for scans in by_kind.values():
        first = next(iter(scans.values()))
        told = first if len(set(scans.values())) == 1 else f"for example {first}"
        yield f"{len(scans)} of {len(doubts)} scans ({listed(scans)}): {told}"
