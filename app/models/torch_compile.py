"""Compilation of networks with torch.compile."""

import shutil

import torch
from torch import nn

from app.core.errors import InputError

_FOR_CPU = ("g++", "clang++", "c++")  # kernels for a CPU are C++
_FOR_GPU = ("gcc", "clang", "cc")  # Triton compiles the start of its kernels from C


def compiled(network: nn.Module, asked_by: str) -> nn.Module:
    """Return the network compiled; each new input size costs about a minute of compilation.

    The compiled network shares the weight tensors of the given one.

    Raises:
        InputError: there is no compiler; the message names `asked_by`, the setting that needs it.
    """
    on_cpu = next(network.parameters()).device.type == "cpu"
    usable = _FOR_CPU if on_cpu else (*_FOR_CPU, *_FOR_GPU)
    if not any(map(shutil.which, usable)):
        raise InputError(f"{asked_by} needs a compiler, found none of {', '.join(usable)}")
    return torch.compile(network, dynamic=False)  # type: ignore[return-value]
