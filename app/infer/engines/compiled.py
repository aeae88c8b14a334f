"""torch.compile: needs a C++ compiler; every new size of window is compiled anew, for about a minute."""

import torch

from app.infer.engines.eager import EagerEngine
from app.infer.engines.engine import Engine, Member
from app.models.network import to_device
from app.models.torch_compile import compiled


def compiled_engine(member: Member, device: torch.device, precision: torch.dtype) -> Engine:
    """The network compiled for the sizes it meets.

    Raises:
        InputError: no C++ compiler.
    """
    network = to_device(member.checkpoint.trained_network(), device)
    return EagerEngine(compiled(network, "predict.engine=compile"), precision)
