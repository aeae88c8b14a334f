"""What libraries raise on damaged files, as one clear line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from app.core.errors import InputError

_LONGEST = 300  # characters of what a library says


@contextmanager
def faults_named(path: Path, form: str) -> Iterator[None]:
    """Turn whatever a library raises while it reads a file into an InputError.

    Readers of damaged bytes raise nearly every type of exception, so all of them are caught: only code that
    reads belongs into the block. NumPy's warnings of numbers out of range are kept from the terminal.

    Raises:
        InputError: with the library's words in one line.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        told = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
        raise InputError(f"{path}: cannot be read as {form}, is it damaged or cut short? ({told})") from None
