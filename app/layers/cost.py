"""Costs of convolutions (weights and multiply-adds), and their output sizes."""

import math
from dataclasses import dataclass

from app.core.kernel import Kernel
from app.core.types import Size, as_size


@dataclass(frozen=True)
class Cost:
    """The cost of a module: number of weights, and multiply-adds for one sample."""

    params: int
    macs: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs)


def dense_cost(in_channels: int, out_channels: int, kernel: Kernel, stride: Size, size: Size) -> Cost:
    """Return the cost of `dense_conv` on an input of `size` voxels."""
    params = in_channels * out_channels * kernel.taps
    return Cost(params, params * math.prod(strided(size, stride)))


def strided(size: Size, stride: Size) -> Size:
    """Return the output size of a convolution with this stride, rounded up."""
    return as_size([math.ceil(n / step) for n, step in zip(size, stride, strict=True)])
