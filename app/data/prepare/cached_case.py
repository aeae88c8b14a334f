"""A prepared case on disk, whose arrays are memory-mapped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.files import read_json
from app.core.types import as_size
from app.data.prepare.bricks import Bricks
from app.data.prepare.geometry import Geometry, Region

REGION = "region.json"


@dataclass(frozen=True)
class CachedCase:
    """A prepared case on disk; arrays are memory-mapped, read-only.

    Opening an array raises InputError if its file is missing or truncated, or cannot be read.
    """

    id: str
    folder: Path

    def image(self) -> Bricks:
        """Return the image (C, D, H, W), in half or single precision."""
        return self._bricks(self._mapped("image.npy"))

    def labels(self) -> Bricks:
        """Return the classes (1, D, H, W), in one or two bytes per voxel."""
        return self._bricks(self._mapped("labels.npy"))

    def foreground(self) -> NDArray[np.int32]:
        """Return rows (label, d, h, w) of foreground voxels, sorted by label."""
        return self._mapped("foreground.npy")

    def check(self) -> None:
        """Open every array.

        Raises:
            InputError: one is missing or truncated, or cannot be read.
        """
        for array in (self.image, self.labels, self.foreground):
            array()

    def geometry(self) -> Geometry:
        """Return the geometry that leads back to the scan's own grid."""
        return Geometry.from_dict(read_json(self.folder / "geometry.json"))

    def region(self) -> Region:
        """Return the part of the arrays, (D, H, W), that a first stage would find; without one, all."""
        path = self.folder / REGION
        if not path.is_file():
            return Region((0, 0, 0), self.labels().size)
        sides = read_json(path)
        return Region(as_size(sides["start"]), as_size(sides["stop"]))

    def _bricks(self, stored: NDArray[Any]) -> Bricks:
        size = stored.shape[1:] if stored.ndim == 4 else self.geometry().resampled
        return Bricks(stored, as_size(size))

    def _mapped(self, name: str) -> NDArray[Any]:
        path = self.folder / name
        try:
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (FileNotFoundError, ValueError, EOFError) as error:
            why = "no such file" if isinstance(error, FileNotFoundError) else f"not a whole array ({error})"
            delete = f"delete {self.folder}, and " if self.folder.exists() else ""
            raise InputError(
                f"case {self.id}: {path}: {why}; the cache was changed from outside: "
                f"{delete}the next run prepares the case again"
            ) from None
        except OSError as error:
            why = f"cannot be read ({error.strerror or error}); check the disk of paths.cache"
            raise InputError(f"case {self.id}: {path}: {why}") from None
        return array
