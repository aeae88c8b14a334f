"""Whether an engine computes what torch computes."""

import torch

from app.core.errors import InputError
from app.infer.engines.eager import EagerEngine
from app.infer.engines.engine import Engine
from app.models.checkpoint import Checkpoint

TOLERANCE = 1e-4  # of logits of the order of 10: float32 adds up differently in each engine


def check_parity(engine: Engine, checkpoint: Checkpoint) -> float:
    """The largest absolute difference of logits to torch, on one random window and on three.

    Raises:
        InputError: it is above the tolerance.
    """
    reference = EagerEngine(checkpoint.trained_network())
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for count in (1, 3):
        windows = torch.randn(count, len(checkpoint.modalities), *checkpoint.plan.patch, generator=generator)
        largest = max(largest, float((engine(windows) - reference(windows)).abs().max()))
    if not largest <= TOLERANCE:
        raise InputError(f"logits differ from torch's by {largest:.2g}, wanted at most {TOLERANCE:.0e}")
    return largest
