"""Intensities to numbers around zero, each channel as its plan says."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.core.plan import Normalisation

_PIECE_VOXELS = 2**22  # voxels whose double-precision copies are held at once


def normalise(image: NDArray[np.float32], channels: Sequence[Normalisation]) -> NDArray[np.float32]:
    """(C, D, H, W), changed in place and returned; a constant channel becomes zero."""
    for channel, how in zip(image, channels, strict=True):
        if how.scheme == "ct":
            np.clip(channel, how.low, how.high, out=channel)
            np.subtract(channel, how.mean, out=channel)
            np.divide(channel, max(how.std, 1e-6), out=channel)
        else:
            _zscore(channel, nonzero=how.scheme == "zscore_nonzero")
    return image


def _zscore(channel: NDArray[np.float32], *, nonzero: bool) -> None:
    """Statistics in double precision: intensities up to 1e6 in millions of voxels overflow float32 sums."""
    pieces = np.array_split(channel, max(1, channel.size // _PIECE_VOXELS))  # views along D
    places = [piece != 0 if nonzero else np.ones(piece.shape, dtype=bool) for piece in pieces]
    count = sum(int(where.sum()) for where in places)
    if count == 0:
        return
    mean = (
        sum(float(piece[where].sum(dtype=np.float64)) for piece, where in zip(pieces, places, strict=True))
        / count
    )
    squares = (
        float(((piece[where].astype(np.float64) - mean) ** 2).sum())
        for piece, where in zip(pieces, places, strict=True)
    )
    spread = float(np.sqrt(sum(squares) / count))
    for piece, where in zip(pieces, places, strict=True):
        piece[where] = (piece[where].astype(np.float64) - mean) / (spread if spread > 0 else 1.0)
