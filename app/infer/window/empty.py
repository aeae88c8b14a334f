"""Which windows hold no tissue.

The rule: a CT channel is air where it lies at the lower clip bound of its normalisation, below 99.5 % of the
foreground of the training set; any other channel where it is constant, as outside a scanner's field of view
or a removed background. A window is left out when a CT channel is air all over, or every channel is constant.
"""

from collections.abc import Sequence

from torch import Tensor

from app.core.plan import Normalisation

_SAME = 1e-4  # of a standard deviation: what resampling makes of a constant


def is_air(window: Tensor, channels: Sequence[Normalisation]) -> bool:
    """Whether a window (C, D, H, W) of normalised intensities is to be left out."""
    low, high = window.flatten(1).aminmax(dim=1)
    if bool((high - low <= _SAME).all()):
        return True
    return any(
        how.scheme == "ct" and float(top) <= (how.low - how.mean) / max(how.std, 1e-6) + _SAME
        for how, top in zip(channels, high, strict=True)
    )
