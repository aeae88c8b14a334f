"""Measured time of a module."""

from statistics import median

import torch
from torch import nn
from torch.utils.benchmark import Timer

from app.layers.device_policy import laid_out

_RUNS = 5


@torch.inference_mode()
def latency_ms(module: nn.Module, shape: tuple[int, ...], *, runs: int = _RUNS) -> float:
    """Return the median milliseconds of a forward pass on (B, C, D, H, W) on the module's device.

    The input has the memory format that is fast there.
    """
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    x = laid_out(torch.randn(shape, device=device))
    timer = Timer("module(x)", globals={"module": module, "x": x}, num_threads=torch.get_num_threads())
    timer.timeit(1)  # warm-up: the first pass includes one-time set-up
    return 1000 * median(timer.timeit(1).mean for _ in range(runs))
