"""Compilation of networks with torch.compile."""

import shutil

import torch
from torch import nn

from app.core.errors import InputError


def compiled(network: nn.Module, asked_by: str) -> nn.Module:
    """Return the network compiled; each new input size costs about a minute of compilation.

    The compiled network shares the weight tensors of the given one.

    Raises:
        InputError: there is no C++ compiler; the message names `asked_by`, the setting that needs it.
    """
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise InputError(f"{asked_by} needs a C++ compiler, found none of g++, clang++, c++")
    return torch.compile(network, dynamic=False)  # type: ignore[return-value]
