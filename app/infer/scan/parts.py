"""The connected components of a mask; small ones may be errors of the network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from app.core.types import as_size
from app.data.prepare.geometry import Region
from app.io.label_values import count_integers


@dataclass(frozen=True)
class MaskComponents:
    """The sizes in voxels and the boxes of the connected components of a mask (D, H, W)."""

    sizes: tuple[int, ...]
    boxes: tuple[Region, ...]

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> "MaskComponents":
        """Return the components of a mask, whose voxels connect by faces."""
        joined, count = ndimage.label(mask)
        sizes = count_integers(joined, count + 1)[1:]
        boxes = [
            Region(as_size([side.start for side in part]), as_size([side.stop for side in part]))
            for part in ndimage.find_objects(joined)
        ]
        return cls(tuple(int(size) for size in sizes), tuple(boxes))

    def box(self, share: float) -> Region | None:
        """Return the box around all components of at least `share` of the largest one's size.

        It is None if the mask is empty.
        """
        if not self.sizes:
            return None
        least = share * max(self.sizes)
        kept = [box for size, box in zip(self.sizes, self.boxes, strict=True) if size >= least]
        found = kept[0]
        for box in kept[1:]:
            found = found.union(box)
        return found
