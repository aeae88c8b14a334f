"""Convolutions that take another way to oneDNN give what torch's own way gives."""

import pytest
import torch
from torch import nn

from app.core.kernel import Kernel
from app.ops.convolution import DepthConv3d, FastConv3d, Upsample3d, dense_conv


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("kernel", [Kernel((3, 1, 1)), Kernel((5, 1, 1)), Kernel((3, 1, 1), 2)], ids=str)
def test_a_kernel_along_depth_is_the_convolution_it_says(kernel: Kernel, batch: int) -> None:
    torch.manual_seed(0)
    module = dense_conv(3, 4, kernel, (1, 1, 1)).to(memory_format=torch.channels_last_3d)
    assert isinstance(module, DepthConv3d)
    x = torch.randn(batch, 3, 7, 5, 6).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
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


@pytest.mark.parametrize(("batch", "stride", "groups"), [(1, 1, 1), (1, 2, 1), (2, 1, 4)])
def test_without_gradients_the_values_are_torchs(batch: int, stride: int, groups: int) -> None:
    torch.manual_seed(0)
    module = FastConv3d(4, 8, (3, 1, 3), stride, (1, 0, 1), groups=groups)
    module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    x = torch.randn(batch, 4, 7, 5, 6).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        y = module(x)
    torch.testing.assert_close(y, nn.Conv3d.forward(module, x).detach(), atol=1e-5, rtol=1e-5)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 2)])
def test_upsampling_without_gradients_is_the_transposed_convolution(stride: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    module = Upsample3d(4, 3, stride).to(memory_format=torch.channels_last_3d)
    x = torch.randn(2, 4, 3, 5, 4).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        y = module(x)
    torch.testing.assert_close(y, nn.ConvTranspose3d.forward(module, x).detach(), atol=1e-5, rtol=1e-5)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
