"""The normalisation of intensities to values around zero, each channel as planned."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.plan import Normalisation

_PIECE_VOXELS = 2**22  # voxels that are held in double precision at once
_EVERY = 4  # every fourth voxel along each axis is enough for percentiles


def intensity_ranges(voxels: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Return the 0.5th and 99.5th percentile of each channel of a scan (C, i, j, k)."""
    sampled = voxels[:, ::_EVERY, ::_EVERY, ::_EVERY]
    ends = [np.percentile(channel, [0.5, 99.5]).tolist() for channel in sampled]
    return [(low, high) for low, high in ends]


@dataclass(frozen=True)
class Scaling:
    """The change to a channel's voxels: clip, subtract `mean`, divide by `std`.

    With `nonzero`, voxels that are zero do not change.
    """

    mean: float
    std: float
    clip: tuple[float, float] | None = None
    nonzero: bool = False

    def __call__(self, voxels: NDArray[np.float32]) -> None:
        """Change the channel (D, H, W), or any part of it, in place."""
        if self.clip:
            np.clip(voxels, *self.clip, out=voxels)
            np.subtract(voxels, self.mean, out=voxels)
            np.divide(voxels, self.std, out=voxels)
            return
        for piece in _pieces(voxels):
            scaled = (piece.astype(np.float64) - self.mean) / self.std
            np.copyto(piece, scaled, where=piece != 0 if self.nonzero else True, casting="same_kind")


def find_scaling(channel: NDArray[np.float32], how: Normalisation) -> Scaling:
    """Return the scaling of a channel (D, H, W) on the scan's own grid; a constant channel becomes zero.

    Statistics are computed in double precision, because sums over millions of voxels with intensities up to
    1e6 exceed the precision of float32.
    """
    if how.scheme == "ct":
        return Scaling(how.mean, max(how.std, 1e-6), clip=(how.low, how.high))
    nonzero = how.scheme == "zscore_nonzero"
    count = max(1, np.count_nonzero(channel) if nonzero else channel.size)
    mean = sum(float(voxels.sum(dtype=np.float64)) for voxels in _counted(channel, nonzero)) / count
    squares = (((voxels.astype(np.float64) - mean) ** 2).sum() for voxels in _counted(channel, nonzero))
    return Scaling(mean, float(np.sqrt(sum(squares) / count)) or 1.0, nonzero=nonzero)


def _counted(channel: NDArray[np.float32], nonzero: bool) -> Iterator[NDArray[np.float32]]:
    return (piece[piece != 0] if nonzero else piece for piece in _pieces(channel))


def _pieces(channel: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Split a channel along D into views of about _PIECE_VOXELS voxels."""
    return np.array_split(channel, max(1, channel.size // _PIECE_VOXELS))
