"""The small convolutions that replace a dense one and share its stride, padding, dilation and bias."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from app.core.types import as_size
from app.layers.convolution import FastConv3d
from app.operators import ConvSpec
from app.operators.decomposed import Factors


def chained(
    conv: nn.Conv3d, factors: Factors, weights: Sequence[Tensor], bias: Tensor | None
) -> nn.Sequential:
    """Build the factors with these weights (any shape of the right size); the last one gets `bias`."""
    assert not isinstance(conv.padding, str)
    kernel, stride = as_size(conv.kernel_size), as_size(conv.stride)
    spec = ConvSpec("", conv.in_channels, conv.out_channels, kernel, stride)
    made: list[nn.Conv3d] = []
    for link, weight in zip(factors.chain(spec), weights, strict=True):
        extends = [taps > 1 for taps in link.kernel]
        small = FastConv3d(
            *(link.in_channels, link.out_channels, link.kernel, link.stride),
            padding=as_size([pad if wide else 0 for pad, wide in zip(conv.padding, extends, strict=True)]),
            dilation=as_size([d if wide else 1 for d, wide in zip(conv.dilation, extends, strict=True)]),
            groups=link.groups,
            bias=bias is not None and len(made) == len(weights) - 1,
            dtype=conv.weight.dtype,
        )
        with torch.no_grad():
            small.weight.copy_(weight.reshape(small.weight.shape))
            if small.bias is not None and bias is not None:
                small.bias.copy_(bias)
        made.append(small)
    return nn.Sequential(*made)
