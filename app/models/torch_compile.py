"""Networks through torch.compile."""

import shutil

import torch
from torch import nn

from app.core.errors import InputError


def compiled(network: nn.Module, asked_by: str) -> nn.Module:
    """The network, compiled for every size it meets, about a minute each; its weights stay the same tensors.

    Raises:
        InputError: no C++ compiler; names the setting that asked for it.
    """
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise InputError(f"{asked_by} needs a C++ compiler, found none of g++, clang++, c++")
    return torch.compile(network, dynamic=False)  # type: ignore[return-value]
