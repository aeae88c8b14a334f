"""Sizes and spacings, always in the order of a tensor's last three axes: (D, H, W)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int, int]
"""Voxels, kernel taps or strides along (D, H, W)."""

Spacing = tuple[float, float, float]
"""Millimetres between voxel centres along (D, H, W)."""


Labels = NDArray[np.integer[Any]]
"""Arrays of classes or label values, integers of one or two bytes."""


def as_size(values: Sequence[int]) -> Size:
    """Return three integers as a Size."""
    depth, height, width = (int(value) for value in values)
    return depth, height, width


def as_spacing(values: Sequence[float]) -> Spacing:
    """Return three numbers as a Spacing."""
    depth, height, width = (float(value) for value in values)
    return depth, height, width


def by(size: Size) -> str:
    """Return a size as text: 40x56x40."""
    return "x".join(str(n) for n in size)
