"""Intensities to numbers around zero, each channel as its plan says."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.core.plan import Normalisation


def normalise(image: NDArray[np.float32], channels: Sequence[Normalisation]) -> NDArray[np.float32]:
    """(C, D, H, W) -> the same shape; a constant channel becomes zero."""
    return np.stack([_channel(image[index], how) for index, how in enumerate(channels)])


def _channel(channel: NDArray[np.float32], how: Normalisation) -> NDArray[np.float32]:
    if how.scheme == "ct":
        clipped = np.clip(channel, how.low, how.high)
        return np.asarray((clipped - how.mean) / max(how.std, 1e-6), dtype=np.float32)
    if how.scheme == "zscore":
        return _zscore(channel, np.ones_like(channel, dtype=bool))
    return _zscore(channel, channel != 0)


def _zscore(channel: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Statistics in double precision: intensities up to 1e6 in millions of voxels overflow float32 sums."""
    result = np.zeros_like(channel)
    if where.any():
        values = channel[where].astype(np.float64)
        spread = float(values.std())
        result[where] = (values - values.mean()) / (spread if spread > 0 else 1.0)
    return result
