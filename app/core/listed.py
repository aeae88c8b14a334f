"""Lists of names in messages."""

from collections.abc import Iterable


def listed(names: Iterable[object], most: int = 5) -> str:
    """Return the first `most` names and the number of the others: a, b and 3 more."""
    every = [str(name) for name in names]
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")
