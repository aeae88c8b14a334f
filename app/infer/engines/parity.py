"""Whether an engine computes what the network means, which torch tells in double precision.

In float32 torch itself is up to 2e-3 away, by layout and by the norm it runs: too little to change a label,
too much to judge others by.
"""

import numpy as np
import torch
from torch import Tensor

from app.core.errors import InputError
from app.core.types import as_size
from app.infer.engines.engine import Engine
from app.models.checkpoint import Checkpoint

TOLERANCE = 1e-4  # of logits of the order of 10: float32 adds up differently in each engine


def check_parity(engine: Engine, checkpoint: Checkpoint, *, longer: bool = False) -> float:
    """The largest absolute difference of logits to the exact ones, on one random window and on three.

    With `longer`, for engines that take windows of any size, also on one that is longer than the patch along
    every axis.

    Raises:
        InputError: it is above the tolerance.
    """
    plan, generator = checkpoint.plan, torch.Generator().manual_seed(0)
    shapes = [(1, plan.patch), (3, plan.patch)]
    if longer:
        shapes.append((1, as_size(np.add(plan.patch, plan.total_stride).tolist())))
    largest = 0.0
    for count, size in shapes:
        windows = torch.randn(count, len(checkpoint.modalities), *size, generator=generator)
        largest = max(largest, float((engine(windows) - exact_logits(checkpoint, windows)).abs().max()))
    if not largest <= TOLERANCE:
        raise InputError(f"logits differ from torch's by {largest:.2g}, wanted at most {TOLERANCE:.0e}")
    return largest


@torch.inference_mode()
def exact_logits(checkpoint: Checkpoint, windows: Tensor) -> Tensor:
    """Logits (B, L, D, H, W) of windows (B, C, D, H, W), computed in double precision."""
    logits: Tensor = checkpoint.trained_network().double()(windows.double())
    return logits.float()
