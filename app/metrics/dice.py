"""Dice similarity: twice the overlap over the sum of both volumes."""

import numpy as np

from app.core.types import Spacing
from app.metrics.metric import Mask


class Dice:
    """Undefined (None) when the label is absent from both masks; 0 when it is absent from one."""

    name = "dice"
    unit = ""
    higher_is_better = True

    def __call__(self, predicted: Mask, reference: Mask, spacing: Spacing) -> float | None:
        """2 |P and R| / (|P| + |R|)."""
        total = np.count_nonzero(predicted) + np.count_nonzero(reference)
        return 2 * np.count_nonzero(predicted & reference) / total if total else None
