"""Nested values: mappings as dotted names, and tuples as lists."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def dotted(
    values: Mapping[str, Any],
    *,
    opened: Callable[[Any], bool] = lambda value: isinstance(value, Mapping),
) -> Iterator[tuple[str, Any]]:
    """Yield each entry with its dotted name: {plan: {batch: 2}} yields plan and plan.batch.

    Values for which `opened` is true are yielded first, then their entries.
    """
    for key, value in values.items():
        yield str(key), value
        if opened(value):
            yield from ((f"{key}.{name}", entry) for name, entry in dotted(value, opened=opened))


def as_lists(value: Any) -> Any:
    """Return plain values with lists in place of tuples at any depth, as files of JSON and YAML hold them."""
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    return [as_lists(item) for item in value] if isinstance(value, list | tuple) else value
