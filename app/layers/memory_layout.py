"""The order of a tensor's numbers in memory: channels last where a device is fast with it."""

import torch
from torch import Tensor


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the layout that networks and volumes (B, C, D, H, W) have on a device.

    Channels-last halves the time of a convolution on a CPU. MPS has no such layout in 3D.
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last_3d


def laid_out(x: Tensor) -> Tensor:
    """Return (B, C, D, H, W) in the layout of its device."""
    return x.contiguous(memory_format=memory_format(x.device))
