"""The engine by torch.compile: it needs a C++ compiler, and about a minute for each new size of window."""

import torch

from app.infer.engines.eager import EagerEngine
from app.infer.engines.engine import Engine, Member
from app.models.network import to_device
from app.models.torch_compile import compiled


def compiled_engine(member: Member, device: torch.device, precision: torch.dtype) -> Engine:
    """Return an engine whose network is compiled for each size of window when it first comes.

    Raises:
        InputError: there is no C++ compiler.
    """
    network = to_device(member.checkpoint.trained_network(), device)
    return EagerEngine(compiled(network, "predict.engine=compile"), precision)
