"""Losses over several processes, computed by exchanging only their sums over classes.

Every other loss needs the logits of all processes: for 118 classes and a patch of 128x128x128 voxels these
are 1 GB per process.
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
    """Return a loss that takes this process's logits and labels and computes the loss of the whole batch.

    None for a loss that needs the logits of all processes.
    """
    if isinstance(loss, SumLoss):
        return replace(loss, exchange=processes.whole)
    inner = getattr(loss, "loss", None)  # MONAI's DeepSupervisionLoss has one
    if not isinstance(inner, SumLoss):
        return None
    levels = copy.copy(loss)
    levels.loss = replace(inner, exchange=processes.whole)  # type: ignore[attr-defined]
    return levels
