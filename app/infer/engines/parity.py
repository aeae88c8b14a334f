"""The check that an engine's logits agree with the network's, which torch computes in double precision.

In float32, torch's own logits differ by up to 2e-3 with the memory layout and the norm's implementation. That
is too little to change a label but too much for a comparison.
"""

import numpy as np
import torch
from torch import Tensor

from app.core.errors import InputError
from app.core.types import as_size
from app.infer.engines.engine import Engine
from app.models.checkpoint import Checkpoint

TOLERANCE = 1e-4  # for logits of about 10; engines add float32 numbers in different orders


def check_parity(engine: Engine, checkpoint: Checkpoint, *, longer: bool = False) -> float:
    """Return the largest absolute difference between an engine's logits and the exact ones.

    It is computed on one random window and on a batch of three. With `longer`, for engines that take windows
    of any size, it is also computed on a window longer than the patch along every axis.

    Raises:
        InputError: the difference is above the tolerance.
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
    """Return the logits (B, L, D, H, W) of windows (B, C, D, H, W), computed in double precision."""
    logits: Tensor = checkpoint.trained_network().double()(windows.double())
    return logits.float()
