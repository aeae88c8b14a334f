"""Nested mappings as dotted names."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def is_mapping(value: Any) -> bool:
    """Return whether a value has entries of its own."""
    return isinstance(value, Mapping)


def dotted(
    values: Mapping[str, Any], *, opened: Callable[[Any], bool] = is_mapping
) -> Iterator[tuple[str, Any]]:
    """Yield each entry by its dotted name: {plan: {batch: 2}} has plan and plan.batch.

    A value for which `opened` is true comes before its own entries.
    """
    for key, value in values.items():
        yield str(key), value
        if opened(value):
            yield from ((f"{key}.{name}", entry) for name, entry in dotted(value, opened=opened))
