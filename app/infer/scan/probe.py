"""Class probabilities at chosen voxels of a scan, without computing those of all voxels."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.data.prepare.geometry import Geometry, network_voxels
from app.infer.scan.restore import Place
from app.infer.window.decode import probabilities_of


class Probe:
    """The chosen voxels (N, 3) of a scan (i, j, k) and their class probabilities (N, L).

    Until a voxel is painted, it is background with probability 1.
    """

    def __init__(self, voxels: NDArray[np.intp], classes: int) -> None:
        self._voxels = voxels
        self.probabilities = np.zeros((len(voxels), classes), dtype=np.float32)
        self.probabilities[:, 0] = 1

    def canvas(self, geometry: Geometry) -> "ProbeCanvas":
        """Return the canvas that takes the logits of a scan with this geometry."""
        return ProbeCanvas(network_voxels(self._voxels, geometry), self.probabilities)


@dataclass(frozen=True)
class ProbeCanvas:
    """A canvas that fills in the probabilities of voxels.

    `voxels` (N, 3) are (D, H, W) counted from the crop's first voxel; those outside the crop stay as they
    are.
    """

    voxels: NDArray[np.intp]
    probabilities: NDArray[np.float32]

    def paint(self, place: Place, logits: Tensor) -> None:
        """Fill in the probabilities of voxels inside `place`, from the logits (L, d, h, W) there."""
        _, slices, rows, _ = place
        low = np.array([slices.start, rows.start, 0])
        high = np.array([slices.stop, rows.stop, logits.shape[-1]])
        inside = np.flatnonzero(((self.voxels >= low) & (self.voxels < high)).all(axis=1))
        if inside.size:
            depth, height, width = torch.from_numpy((self.voxels[inside] - low).T)
            found = probabilities_of(logits[:, depth, height, width])
            self.probabilities[inside] = found.T.cpu().numpy()
