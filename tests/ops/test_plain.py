"""Kernels along the depth axis, computed on another view of the volume."""

import pytest
import torch
from torch import nn

from app.core.kernel import Kernel
from app.ops.plain import DepthConv3d, dense_conv


@pytest.mark.parametrize("kernel", [Kernel((3, 1, 1)), Kernel((5, 1, 1)), Kernel((3, 1, 1), 2)], ids=str)
def test_a_kernel_along_depth_is_the_convolution_it_says(kernel: Kernel) -> None:
    torch.manual_seed(0)
    module = dense_conv(3, 4, kernel, (1, 1, 1)).to(memory_format=torch.channels_last_3d)
    assert isinstance(module, DepthConv3d)
    x = torch.randn(2, 3, 7, 5, 6).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    y, wanted = module(x), nn.Conv3d.forward(module, x)
    torch.testing.assert_close(y, wanted, atol=1e-5, rtol=1e-5)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    parts = (x, module.weight)
    for found, other in zip(
        torch.autograd.grad(y.square().sum(), parts),
        torch.autograd.grad(wanted.square().sum(), parts),
        strict=True,
    ):
        torch.testing.assert_close(found, other, atol=1e-4, rtol=1e-4)
