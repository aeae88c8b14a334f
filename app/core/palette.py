"""The colours of labels and the window of grey values, the same in every picture and on every page."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LABELS = ("#56B4E9", "#E69F00", "#F0E442", "#CC79A7", "#00B98A", "#FF7043", "#FFFFFF")
"""Wong's colours for colour blindness (Nature Methods 8, 441) that are bright enough on a grey scan."""

_SAMPLED = 2_000_000  # voxels that are enough for percentiles


def label_color(index: int) -> str:
    """Return the colour of the label with this index; colours repeat after seven."""
    return _LABELS[index % len(_LABELS)]


def grey_window(image: NDArray[Any]) -> tuple[float, float]:
    """Return the grey values shown as black and white: the 1st and 99th percentile of a sample of voxels."""
    sample = image.ravel(order="K")[:: max(1, image.size // _SAMPLED)]
    sample = sample[np.isfinite(sample)]
    low, high = np.percentile(sample, (1, 99)) if sample.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))
