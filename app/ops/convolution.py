"""Convolutions that reach oneDNN, torch's fast CPU library, also where torch itself would not call it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.core.kernel import Kernel
from app.core.types import Size, as_size


class FastConv3d(nn.Conv3d):
    """nn.Conv3d; on the CPU and without gradients always by oneDNN.

    Torch (2.13) gives a single volume of few voxels, which is what deep levels see when one window is
    predicted, to a plain loop at up to seven times the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D/s, H/s, W/s), rounded up."""
        if _is_plain_inference(x):
            assert not isinstance(self.padding, str), "made with numbers of voxels"
            return torch.mkldnn_convolution(
                *(x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups)
            )
        return super().forward(x)


class DepthConv3d(FastConv3d):
    """k x 1 x 1 with stride 1; with gradients as a 2D convolution of images of D by H times W voxels.

    Torch (2.13) gives a 3D convolution without taps in height and width to a plain loop where it has one
    thread, at ten times the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D, H, W)."""
        if _is_plain_inference(x):
            return super().forward(x)
        padding, dilation = (int(self.padding[0]), 0), (self.dilation[0], 1)
        y = F.conv2d(x.flatten(3), self.weight.flatten(3), self.bias, 1, padding, dilation)
        return y.view(*y.shape[:2], *x.shape[2:])


class Upsample3d(nn.ConvTranspose3d):
    """A transposed convolution whose kernels do not overlap; on the CPU without gradients one matrix product.

    Torch (2.13) gives a single volume of few voxels to a plain loop, and its result is not channels-last,
    so that whatever follows turns it round.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Size) -> None:
        super().__init__(in_channels, out_channels, stride, stride, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D * s, H * s, W * s)."""
        if not _is_plain_inference(x):
            return super().forward(x, output_size)
        size = [voxels * step for voxels, step in zip(x.shape[2:], self.stride, strict=True)]
        taps = self.weight.permute(0, 2, 3, 4, 1).flatten(1)
        y = x.permute(0, 2, 3, 4, 1) @ taps
        y = y.view(*y.shape[:4], *self.stride, self.out_channels).permute(0, 1, 4, 2, 5, 3, 6, 7)
        return y.reshape(len(x), *size, self.out_channels).permute(0, 4, 1, 2, 3)


def dense_conv(in_channels: int, out_channels: int, kernel: Kernel, stride: Size) -> nn.Conv3d:
    """A convolution without bias that keeps the size, but for the stride, rounded up."""
    padding = as_size([voxels // 2 for voxels in kernel.extent])
    along_depth = kernel.size[0] > 1 and kernel.size[1:] == (1, 1) and stride == (1, 1, 1)
    cls = DepthConv3d if along_depth and in_channels > 1 else FastConv3d
    return cls(in_channels, out_channels, kernel.size, stride, padding, dilation=kernel.dilation, bias=False)


def _is_plain_inference(x: Tensor) -> bool:
    """On the CPU, without gradients, and not while the network is traced to be compiled or exported."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return False
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
    return not traced and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
