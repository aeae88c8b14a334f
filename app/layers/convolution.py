"""Convolutions that use oneDNN, torch's fast CPU library, also in cases in which torch does not use it."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.core.kernel import Kernel
from app.core.types import Size, as_size
from app.layers.second_order import differentiable_grads

_SMALL = 20_480  # channels x depth x height up to which torch (2.13) does not use oneDNN for one volume


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Size = (1, 1, 1),
    padding: Size = (0, 0, 0),
    dilation: Size = (1, 1, 1),
    groups: int = 1,
) -> Tensor:
    """Convolve (B, in, D, H, W) with (out, in / groups, k, k, k) as torch does, on a CPU always fast.

    Torch (2.13) computes two cases by a slow loop. One is a single small volume, as in deep levels when one
    window is predicted or a batch has one patch: up to seven times slower. With gradients, `_Single` computes
    it. The other is, on one thread, a kernel with one tap in height and width: five times slower. A dilated
    kernel avoids that loop, so a dilation is set along the axes with one tap, where it changes nothing.
    Depthwise kernels have their own gradients, see `_Depthwise`. oneDNN is slow with several filters per
    channel, so channels are repeated, one per filter.

    For one input channel, taps along width alone, a stride along depth and more than 16 filters, oneDNN
    writes beyond its memory. There the slices and rows that the stride skips are left out beforehand.
    """
    ours = _is_ours(x, weight)
    if ours and weight.shape[1:4] == (1, 1, 1) and groups == 1 and padding[:2] == (0, 0):
        x = x[:, :, :: stride[0], :: stride[1]].contiguous(memory_format=torch.channels_last_3d)
        stride = (1, 1, stride[2])
    if ours and 1 < groups == x.shape[1] < weight.shape[0] and _has_onednn():
        x, groups = _repeat_channels(x, weight.shape[0] // groups), weight.shape[0]
    if _is_plain_inference(x):
        return torch.mkldnn_convolution(x, weight, bias, padding, stride, dilation, groups)
    depthwise = 1 < groups == x.shape[1] == weight.shape[0] and stride == (1, 1, 1) and bias is None
    if ours and depthwise and min(_far_side(weight, padding, dilation)) >= 0 and _has_onednn():
        x = x.contiguous(memory_format=torch.channels_last_3d)
        return _Depthwise.apply(x, weight, padding, dilation)  # type: ignore[no-untyped-call, no-any-return]
    if ours and groups == 1 and bias is None and _is_single(x) and _has_onednn():
        return _Single.apply(x, weight, (stride, padding, dilation))  # type: ignore[no-untyped-call, no-any-return]
    if ours and weight.shape[3:] == (1, 1) and torch.get_num_threads() == 1:
        taps = weight.shape[2:]
        dilation = as_size([step if along > 1 else 2 for step, along in zip(dilation, taps, strict=True)])
    return F.conv3d(x, weight, bias, stride, padding, dilation, groups)


def _repeat_channels(x: Tensor, times: int) -> Tensor:
    """Return (B, C * times, D, H, W) in channels-last, with the copies of each channel next to each other."""
    last = x.movedim(1, -1)[..., None].expand(*(-1,) * x.dim(), times)
    return last.flatten(-2).movedim(-1, 1)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution with stride 1 and fast gradients; torch (2.13) uses slow loops for them in 3D.

    The gradient of the input is a convolution with mirrored taps. The gradient of the weights is computed for
    one tap along depth at a time, as that of a 2D convolution of all slices, for which oneDNN is fast.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: Size, dilation: Size) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.dilation = padding, dilation
        return torch.mkldnn_convolution(x, weight, None, padding, (1, 1, 1), dilation, len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is requested
            again = F.conv3d(x, weight, None, 1, ctx.padding, ctx.dilation, len(weight))
            of_input, of_weight = differentiable_grads(again, (x, weight), grad)
            return of_input, of_weight, None, None
        grad = grad.contiguous(memory_format=torch.channels_last_3d)
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            around = _far_side(weight, ctx.padding, ctx.dilation)
            mirrored = weight.flip(2, 3, 4)
            of_input = torch.mkldnn_convolution(
                grad, mirrored, None, around, (1, 1, 1), ctx.dilation, len(weight)
            )
        if ctx.needs_input_grad[1]:
            of_weight = _depthwise_weight_grad(x, grad, weight, ctx.padding, ctx.dilation)
        return of_input, of_weight, None, None


def _far_side(weight: Tensor, padding: Size, dilation: Size) -> Size:
    """Return the padding with which mirrored taps map the output's size back to the input's."""
    sides = zip(weight.shape[2:], padding, dilation, strict=True)
    return as_size([step * (taps - 1) - pad for taps, pad, step in sides])


def _depthwise_weight_grad(x: Tensor, grad: Tensor, weight: Tensor, padding: Size, dilation: Size) -> Tensor:
    """Return the gradient of the weights (C, 1, k, k, k).

    Samples are processed one by one, as the slices of one sample that a tap sees are a view, not a copy.
    """
    taps = torch.zeros_like(weight)
    for sample, of_sample in zip(x, grad, strict=True):
        for tap in range(weight.shape[2]):
            offset = tap * dilation[0] - padding[0]
            first, last = max(0, -offset), min(grad.shape[2], x.shape[2] - offset)
            if first < last:
                taps[:, :, tap] += torch.ops.aten.convolution_backward(
                    *(
                        of_sample[:, first:last].movedim(1, 0),
                        sample[:, first + offset : last + offset].movedim(1, 0),
                    ),
                    *(weight[:, :, tap], None, [1, 1], padding[1:], dilation[1:]),
                    *(False, [0, 0], len(weight), [False, True, False]),
                )[1]
    return taps


class _Single(torch.autograd.Function):
    """A convolution of one small volume, for which torch (2.13) would use a slow loop.

    Forward, oneDNN is called directly. Backward, torch decides by the number of samples, so the two halves of
    the output along depth, and the parts of the input that they depend on, are passed as two samples.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, steps: tuple[Size, Size, Size]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.steps = stride, padding, dilation = steps
        return torch.mkldnn_convolution(x, weight, None, padding, stride, dilation, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.steps
        if torch.is_grad_enabled():  # a second derivative is requested
            again = F.conv3d(x, weight, None, stride, padding, dilation)
            of_input, of_weight = differentiable_grads(again, (x, weight), grad)
            return of_input, of_weight, None
        slices = (grad.shape[2] + 1) // 2
        seen = (slices - 1) * stride[0] + dilation[0] * (weight.shape[2] - 1) + 1
        starts = (-padding[0], slices * stride[0] - padding[0])
        of_parts, of_weight, _ = torch.ops.aten.convolution_backward(
            *(_cut(grad, (0, slices), slices), _cut(x, starts, seen), weight, None),
            *(stride, (0, *padding[1:]), dilation, False, [0, 0, 0], 1),
            [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False],
        )
        of_input = _join(of_parts, starts, x.shape[2]) if ctx.needs_input_grad[0] else None
        return of_input, of_weight, None


def _cut(x: Tensor, starts: Sequence[int], length: int) -> Tensor:
    """Return (parts, C, length, H, W): parts of (1, C, D, H, W) along depth; zeros lie beyond its ends.

    Parts that are the whole volume, side by side, share its memory.
    """
    _, channels, depth, *area = x.shape
    if _is_whole(starts, length, depth):
        return x.movedim(1, -1).reshape(len(starts), length, *area, channels).movedim(-1, 1)
    shape = len(starts), channels, length, *area
    parts = torch.empty(shape, memory_format=torch.channels_last_3d)
    for part, start in zip(parts, starts, strict=True):
        first, last = _inside(start, length, depth)
        part[:, first - start : last - start] = x[0, :, first:last]
        part[:, : first - start] = part[:, last - start :] = 0
    return parts


def _join(parts: Tensor, starts: Sequence[int], depth: int) -> Tensor:
    """Return (1, C, depth, H, W): the sum of the parts, each at the place from which `_cut` took it."""
    _, channels, length, *area = parts.shape
    if _is_whole(starts, length, depth):
        return parts.movedim(1, -1).reshape(1, depth, *area, channels).movedim(-1, 1)
    joined = torch.empty((1, channels, depth, *area), memory_format=torch.channels_last_3d).zero_()
    for part, start in zip(parts, starts, strict=True):
        first, last = _inside(start, length, depth)
        joined[0, :, first:last] += part[:, first - start : last - start]
    return joined


def _is_whole(starts: Sequence[int], length: int, depth: int) -> bool:
    return list(starts) == list(range(0, depth, length)) and depth % length == 0


def _inside(start: int, length: int, depth: int) -> tuple[int, int]:
    """Return the first slice of a part that lies inside the volume, and the one after its last."""
    first = max(0, start)
    return first, max(first, min(depth, start + length))


class FastConv3d(nn.Conv3d):
    """An nn.Conv3d that is computed by `conv3d`."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, in, D, H, W) to (B, out, D/s, H/s, W/s), sizes rounded up."""
        assert not isinstance(self.padding, str), "made with numbers of voxels"
        return conv3d(
            *(x, self.weight, self.bias),
            stride=as_size(self.stride),
            padding=as_size(self.padding),
            dilation=as_size(self.dilation),
            groups=self.groups,
        )


class Upsample3d(nn.ConvTranspose3d):
    """A transposed convolution with kernel size equal to stride; one matrix product for a small volume.

    Torch (2.13) would compute such a volume by a slow loop. Its result would not be channels-last, so
    the next layer would have to convert it.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Size) -> None:
        super().__init__(in_channels, out_channels, stride, stride, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Upsample (B, in, D, H, W) to (B, out, D * s, H * s, W * s)."""
        if not (_is_plain_inference(x) or (_is_ours(x, self.weight) and _is_single(x))):
            return super().forward(x, output_size)
        size = [voxels * step for voxels, step in zip(x.shape[2:], self.stride, strict=True)]
        taps = self.weight.permute(0, 2, 3, 4, 1).flatten(1)
        y = x.permute(0, 2, 3, 4, 1) @ taps
        y = y.view(*y.shape[:4], *self.stride, self.out_channels).permute(0, 1, 4, 2, 5, 3, 6, 7)
        return y.reshape(len(x), *size, self.out_channels).permute(0, 4, 1, 2, 3)


def dense_conv(in_channels: int, out_channels: int, kernel: Kernel, stride: Size) -> nn.Conv3d:
    """Return a convolution without bias; its output size is the input's over the stride, rounded up."""
    padding = as_size([voxels // 2 for voxels in kernel.extent])
    return FastConv3d(
        *(in_channels, out_channels, kernel.size, stride, padding), dilation=kernel.dilation, bias=False
    )


def _is_ours(x: Tensor, weight: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and not _is_traced()


def _is_single(x: Tensor) -> bool:
    """Return whether torch (2.13) would not use oneDNN for x, because it is one small volume."""
    return len(x) == 1 and x.shape[1] * x.shape[2] * x.shape[3] <= _SMALL


def _is_plain_inference(x: Tensor) -> bool:
    """Return whether to use oneDNN directly: x is float32 on the CPU, without gradients and tracing."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return False
    return not _is_traced() and _has_onednn()


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call, no-any-return]


def _is_traced() -> bool:
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
