"""torch.compile: needs a C++ compiler; every new size of window is compiled anew, for about a minute."""

import shutil

import torch

from app.core.errors import InputError
from app.infer.engines.eager import EagerEngine
from app.infer.engines.engine import Engine, Member
from app.models.network import to_device


def compiled_engine(member: Member, device: torch.device) -> Engine:
    """The network compiled for the sizes it meets.

    Raises:
        InputError: no C++ compiler.
    """
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise InputError("predict.engine=compile needs a C++ compiler, found none of g++, clang++, c++")
    network = to_device(member.checkpoint.trained_network(), device)
    return EagerEngine(torch.compile(network, dynamic=False))  # type: ignore[arg-type]
