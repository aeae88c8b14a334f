"""What a metric is: one number for one label of one case."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.core.types import Spacing

Mask = NDArray[np.bool_]


class Metric(Protocol):
    """One number for a predicted and a reference mask (D, H, W) of one label."""

    name: str
    unit: str
    higher_is_better: bool

    def __call__(self, predicted: Mask, reference: Mask, spacing: Spacing) -> float | None:
        """The value; None where it is undefined, as each metric states."""
        ...
