"""Seconds spent in each step of a longer piece of work."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_Item = TypeVar("_Item")


class Clock:
    """Adds up seconds by the name of the step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what happens inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def timed(self, name: str, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items, counting what it takes to make each."""
        made = iter(items)
        while True:
            with self.step(name):
                item = next(made, None)
            if item is None:
                return
            yield item
