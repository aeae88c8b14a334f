"""Windows without tissue, which need no network.

A window is left out if every channel is constant, as outside the field of view or in a removed background, or
if a CT channel is air in every voxel. A voxel is air if its value is at the lower clip bound of the
normalisation, which is below 99.5 % of the foreground of the training set.
"""

from collections.abc import Sequence

from torch import Tensor

from app.core.plan import Normalisation

_SAME = 1e-4  # standard deviations by which resampling may change a constant


def is_air(window: Tensor, channels: Sequence[Normalisation]) -> bool:
    """Return whether a window (C, D, H, W) of normalised intensities is left out."""
    low, high = window.flatten(1).aminmax(dim=1)
    if bool((high - low <= _SAME).all()):
        return True
    return any(
        how.scheme == "ct" and float(top) <= (how.low - how.mean) / max(how.std, 1e-6) + _SAME
        for how, top in zip(channels, high, strict=True)
    )
