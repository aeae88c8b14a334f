"""Errors of a case: its name, and the next step if its files can no longer be read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from app.core.errors import InputError
from app.core.task import Case
from app.io.scan_paths import scan_exists

_NEXT = "; put its files back and run the same command again"


@contextmanager
def naming(case: Case) -> Iterator[None]:
    """Add to an InputError the case's name, and the next step if files have vanished since the command began.

    The block may be nested in another one of the same case.
    """
    try:
        yield
    except InputError as error:
        named = re.search(rf"(?<!\S){re.escape(case.id)}(?![^\s:,;])", str(error))  # not as a part of a path
        text = str(error) if named else f"case {case.id}: {error}"
        gone = not all(scan_exists(file) for file in (case.image, case.label) if file is not None)
        if gone and not text.endswith(_NEXT):
            raise InputError(text + _NEXT) from None
        if text == str(error):
            raise
        raise InputError(text) from None


@contextmanager
def reading_only(case: Case) -> Iterator[None]:
    """Turn an error of the system into an InputError as `naming` does; the block must only read.

    Raises:
        InputError: a file is gone or cannot be read, such as on a network folder that is disconnected.
    """
    with naming(case):
        try:
            yield
        except OSError as error:
            raise InputError(f"case {case.id}: {error.filename}: cannot be read ({error.strerror})") from None
