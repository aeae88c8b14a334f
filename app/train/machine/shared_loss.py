"""Losses whose value over all processes follows from sums over classes, which are all they exchange.

Any other loss gets the logits of all processes: 118 classes of a patch of 128x128x128 voxels are 1 GB each.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from app.losses.losses import SumLoss
from app.train.machine.processes import Processes

Loss = Callable[[Any, Tensor], Tensor]


def exchanging_sums(loss: Loss, processes: Processes) -> Loss | None:
    """Return the loss of the batch that all processes make together, of logits and labels of this one.

    None for a loss that needs the logits of all.
    """
    if isinstance(loss, SumLoss):
        return replace(loss, exchange=processes.whole)
    inner = getattr(loss, "loss", None)  # of MONAI's DeepSupervisionLoss
    if not isinstance(inner, SumLoss):
        return None
    levels = copy.copy(loss)
    levels.loss = replace(inner, exchange=processes.whole)  # type: ignore[attr-defined]
    return levels
