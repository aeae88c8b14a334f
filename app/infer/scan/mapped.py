"""Arrays in unnamed temporary files, deleted with the array; 20 classes of a large CT take 13 GB."""

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
            if hasattr(os, "posix_fallocate"):  # else a disk that fills later would kill the process
                os.posix_fallocate(file.fileno(), 0, 4 * math.prod(shape))
            return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
