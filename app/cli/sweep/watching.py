"""Repeated calls of a function in the background while jobs run."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PERIOD = 1.0  # seconds between calls


@contextmanager
def watching(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` repeatedly from a thread until the block ends, and once more at the end."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_PERIOD):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        look()
