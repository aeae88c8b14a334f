"""What is odd about a scan, seen from what the networks were trained on; never a reason to refuse it."""

from collections.abc import Sequence

import numpy as np

from app.core.plan import Normalisation, Plan
from app.data.prepare.prepare import Prepared
from app.io.volumes import Volume

_TIMES = 3.0  # coarser or finer than trained on: beyond augmentation by far
_LEAST_SHARE = 0.5  # of the training range that a scan with a unit must cover
_BRIGHTER = 10.0  # or darker than any scan trained on: another unit, not another scanner
_EVERY = 4  # voxels along each axis: percentiles need no more


def scan_warnings(volume: Volume, prepared: Prepared, plan: Plan, modalities: Sequence[str]) -> list[str]:
    """One line for each oddity of spacing, and of intensities beside the training set's."""
    found = []
    for axis, got, wanted in zip("DHW", prepared.geometry.spacing, plan.spacing, strict=True):
        if not 1 / _TIMES < got / wanted < _TIMES:
            found.append(f"spacing {got:.3g} mm along {axis}, the networks were trained at {wanted:.3g} mm")
    brightest = plan.brightest or (None,) * len(modalities)
    for name, channel, how, known in zip(
        modalities, volume.voxels, plan.normalisation, brightest, strict=True
    ):
        low, high = np.percentile(channel[::_EVERY, ::_EVERY, ::_EVERY], [0.5, 99.5])
        doubt = _doubt(float(low), float(high), how, known)
        if doubt:
            found.append(f"{name} from {low:.4g} to {high:.4g}, {doubt}")
    return found


def _doubt(low: float, high: float, how: Normalisation, brightest: tuple[float, float] | None) -> str:
    """What is odd about a channel that runs from low to high; nothing where it is like the training set."""
    if low == high:
        return "constant; is the scan empty?"
    if how.scheme == "ct":
        shared = min(high, how.high) - max(low, how.low)
        unlike = shared < _LEAST_SHARE * (how.high - how.low)
        foreground = f"the training set's foreground runs from {how.low:.4g} to {how.high:.4g}"
        return f"{foreground}; is it in Hounsfield units?" if unlike else ""
    if brightest is None or brightest[0] / _BRIGHTER <= high <= brightest[1] * _BRIGHTER:
        return ""
    return (
        f"the training scans' foregrounds run up to {brightest[0]:.4g} or {brightest[1]:.4g}; "
        "is it in the same unit?"
    )
