"""Measuring the seconds spent in each named part of a longer task."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_Item = TypeVar("_Item")


class Clock:
    """A clock that sums up seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time spent inside the context."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def timed(self, name: str, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yield the items, and add the time that making each of them takes."""
        made = iter(items)
        while True:
            with self.step(name):
                item = next(made, None)
            if item is None:
                return
            yield item
