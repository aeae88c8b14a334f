"""Clear errors for whatever libraries raise on damaged files."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from app.core.errors import InputError, interrupts_kept

_LONGEST = 300  # characters of a library's message


@contextmanager
def faults_named(path: Path, form: str) -> Iterator[None]:
    """Turn any exception that a library raises while it reads a file into an InputError.

    Libraries raise nearly every type of exception on damaged bytes, so all types are caught; the block must
    contain only code that reads. NumPy's floating-point warnings are not shown.

    Raises:
        InputError: the file cannot be read; the message ends with the library's, in one line.
    """
    try:
        with interrupts_kept(), np.errstate(all="ignore"):
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: a bad offset
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        told = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
        raise InputError(f"{path}: cannot be read as {form}, is it damaged or cut short? ({told})") from None


def last_line(error: Exception) -> str:
    """Return the last line of ITK's message, which says what is wrong; the lines before say where in ITK."""
    return str(error).strip().splitlines()[-1]
