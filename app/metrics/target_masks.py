"""What is scored in a label map: masks of labels or regions, without the voxels nobody knows."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.metrics.metric import Mask


def target_masks(
    predicted: NDArray[np.integer],
    reference: NDArray[np.uint8],
    targets: Mapping[str, tuple[int, ...]],
    ignore: int | None,
) -> dict[str, tuple[Mask, Mask]]:
    """Predicted and reference mask of each target, given by its label values; empty where `ignore` is."""
    known = None if ignore is None else reference != ignore
    return {
        name: (_mask(predicted, values, known), _mask(reference, values, known))
        for name, values in targets.items()
    }


def _mask(labels: NDArray[np.integer], values: tuple[int, ...], known: Mask | None) -> Mask:
    mask = labels == values[0] if len(values) == 1 else np.isin(labels, values)
    return mask if known is None else mask & known
