"""Arrays in unnamed temporary files, deleted with the array; 20 classes of a large CT take 13 GB."""

import errno
import math
import os
import tempfile
from pathlib import Path

import numpy as np

from app.core.files import writing

Mapped = np.memmap[tuple[int, ...], np.dtype[np.float32]]


def on_disk(shape: tuple[int, ...], folder: Path | None = None) -> Mapped:
    """Return an array of zeros in a file in `folder`, by default the system's folder for temporary files.

    Raises:
        InputError: the disk has no room for it, or cannot be written.
    """
    place = Path(tempfile.gettempdir()) if folder is None else folder
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as file:
            _reserve(file.fileno(), 4 * math.prod(shape))
            return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)


def _reserve(file: int, size: int) -> None:
    """Take the room of a file now, if its system can: a disk that fills later would kill the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
