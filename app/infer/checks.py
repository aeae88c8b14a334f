"""What is odd about a scan, seen from what the networks were trained on; never a reason to refuse it."""

from collections.abc import Sequence

import numpy as np

from app.core.plan import Plan
from app.data.prepare import Prepared
from app.data.volume_io import Volume

_TIMES = 3.0  # coarser or finer than trained on: beyond augmentation by far
_LEAST_SHARE = 0.5  # of the training range that a scan's own must cover
_EVERY = 4  # voxels along each axis: percentiles need no more


def scan_warnings(volume: Volume, prepared: Prepared, plan: Plan, modalities: Sequence[str]) -> list[str]:
    """One line for each oddity of spacing, and of the intensities of channels with a unit (CT)."""
    found = []
    for axis, got, wanted in zip("DHW", prepared.geometry.spacing, plan.spacing, strict=True):
        if not 1 / _TIMES < got / wanted < _TIMES:
            found.append(f"spacing {got:.3g} mm along {axis}, the networks were trained at {wanted:.3g} mm")
    for name, channel, how in zip(modalities, volume.voxels, plan.normalisation, strict=True):
        if how.scheme != "ct":
            continue
        low, high = np.percentile(channel[::_EVERY, ::_EVERY, ::_EVERY], [0.5, 99.5])
        shared = min(high, how.high) - max(low, how.low)
        if shared < _LEAST_SHARE * (how.high - how.low):
            found.append(
                f"{name} from {low:.4g} to {high:.4g}, the training set's foreground runs from "
                f"{how.low:.4g} to {how.high:.4g}; is it in Hounsfield units?"
            )
    return found
