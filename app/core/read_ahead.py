"""Reading the next item of a sequence in a thread while the current one is worked on."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

_Item = TypeVar("_Item")
_Read = TypeVar("_Read")


def read_ahead(
    items: Sequence[_Item], read: Callable[[_Item], _Read], *, ahead: bool = True
) -> Iterator[tuple[_Item, Callable[[], _Read]]]:
    """Yield each item with a function that returns what `read` makes of it, or raises its error.

    The next item is read while the caller works on this one. Without `ahead`, an item is read when its
    function is called.
    """
    if not ahead:
        yield from ((item, partial(read, item)) for item in items)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        following = reader.submit(read, items[0]) if items else None
        for index, item in enumerate(items):
            assert following is not None
            current, following = following, None
            if index + 1 < len(items):
                following = reader.submit(read, items[index + 1])
            yield item, current.result
            del current  # so that only the caller holds what was read
