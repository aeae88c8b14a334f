"""Class probabilities at chosen voxels of a scan, without those of all others."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.data.prepare.geometry import Geometry, network_voxels
from app.infer.scan.restore import Place
from app.infer.window.decode import probabilities_of


class Probe:
    """Voxels (N, 3) of a scan (i, j, k) and their probabilities (N, L), background until they are painted."""

    def __init__(self, voxels: NDArray[np.intp], classes: int) -> None:
        self._voxels = voxels
        self.probabilities = np.zeros((len(voxels), classes), dtype=np.float32)
        self.probabilities[:, 0] = 1

    def canvas(self, geometry: Geometry) -> "ProbeCanvas":
        """Return what takes pieces of a scan prepared in this way."""
        return ProbeCanvas(network_voxels(self._voxels, geometry), self.probabilities)


@dataclass(frozen=True)
class ProbeCanvas:
    """Voxels (N, 3) as (D, H, W) inside a crop, some of them outside, and their probabilities to fill in."""

    voxels: NDArray[np.intp]
    probabilities: NDArray[np.float32]

    def paint(self, place: Place, logits: Tensor) -> None:
        """Take logits (L, d, h, W) of the slices and rows at `place`."""
        _, slices, rows, _ = place
        low = np.array([slices.start, rows.start, 0])
        high = np.array([slices.stop, rows.stop, logits.shape[-1]])
        inside = np.flatnonzero(((self.voxels >= low) & (self.voxels < high)).all(axis=1))
        if inside.size:
            depth, height, width = torch.from_numpy((self.voxels[inside] - low).T)
            found = probabilities_of(logits[:, depth, height, width])
            self.probabilities[inside] = found.T.cpu().numpy()
