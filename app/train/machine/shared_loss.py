"""Losses over patches of several processes or batches, computed from their sums over classes.

Every other loss needs the logits of all processes: for 118 classes and a patch of 128x128x128 voxels these
are 1 GB per process.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from app.losses.losses import SumLoss

Loss = Callable[[Any, Tensor], Tensor]


def exchanging_sums(loss: Loss, exchange: Callable[[Tensor], Tensor]) -> Loss | None:
    """Return the loss of more patches than it is called with: `exchange` returns the sums of all of them.

    None for a loss that needs the logits of all patches.
    """
    if isinstance(loss, SumLoss):
        return replace(loss, exchange=exchange)
    inner = getattr(loss, "loss", None)  # MONAI's DeepSupervisionLoss has one
    if not isinstance(inner, SumLoss):
        return None
    levels = copy.copy(loss)
    levels.loss = replace(inner, exchange=exchange)  # type: ignore[attr-defined]
    return levels
