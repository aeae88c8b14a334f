"""Arrays in files without a name, which are gone with the array: 20 classes of a large CT are 13 GB."""

import tempfile
from pathlib import Path

import numpy as np

Mapped = np.memmap[tuple[int, ...], np.dtype[np.float32]]


def on_disk(shape: tuple[int, ...], folder: Path | None = None) -> Mapped:
    """Return zeros in a file in `folder`, by default that of temporary files."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
