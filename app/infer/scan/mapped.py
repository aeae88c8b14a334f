"""Arrays in unnamed temporary files, deleted with the array; 20 classes of a large CT take 13 GB."""

import tempfile
from pathlib import Path

import numpy as np

Mapped = np.memmap[tuple[int, ...], np.dtype[np.float32]]


def on_disk(shape: tuple[int, ...], folder: Path | None = None) -> Mapped:
    """Return an array of zeros in a file in `folder`, by default the system's folder for temporary files."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
