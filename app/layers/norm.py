"""Norms and activations, which follow a convolution."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.layers.device_policy import policy_of
from app.layers.second_order import differentiable_grads


class InstanceNorm3d(nn.GroupNorm):
    """An instance norm with learnt scale and shift, as a group norm with one channel per group.

    Torch's InstanceNorm3d gives equal results, but its output is not channels-last, which costs a third of a
    step's time.

    If `overwrites` is set, a CPU writes the result over the input while gradients are disabled. Set it only
    if nothing else reads the input. It saves a tenth of a forward pass.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)
        self.overwrites = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, D, H, W) of any size."""
        overwrite = self.overwrites and not torch.is_grad_enabled()
        return normalise(x, self.weight, self.bias, self.eps, overwrite=overwrite)


def normalise(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, eps: float = 1e-5, *, overwrite: bool = False
) -> Tensor:
    """Return the instance norm of (B, C, D, H, W), times `weight` (C,), plus `bias` (C,).

    With `overwrite`, which needs disabled gradients, the result may replace `x` in memory.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
    if x.device.type == "cpu" and x.dtype == weight.dtype and x.numel() and not traced:
        # Torch 2.13 fills `out` wrongly, without an error, if x is neither contiguous nor channels-last.
        x = x.contiguous(memory_format=torch.channels_last_3d)
        if overwrite and x.shape[1] % (_LANES // 2) == 0:  # half a vector is fast enough without gradients
            result, _, _ = _norm_samples(x, weight, bias, eps, into=x)
        elif x.shape[1] % _LANES == 0:
            result = _SampleBySample.apply(x, weight, bias, eps)  # type: ignore[no-untyped-call]
        else:
            result, _, _ = _RowByRow.apply(x, weight, bias, eps)  # type: ignore[no-untyped-call]
        return result
    if policy_of(x.device).native_norm:
        return native_norm(x, weight, bias, eps)
    channels = int(x.shape[1])  # an int, so that tracing exporters see a constant
    return F.group_norm(x, channels, weight, bias, eps)


def native_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """Return the same by torch's own function, also for single voxels, which nn.functional refuses."""
    return torch.instance_norm(x, weight, bias, None, None, True, 0.0, eps, torch.backends.cudnn.enabled)


_LANES = 16  # channels that torch's batch norm processes together; a remainder is processed one by one


def _norm_samples(
    x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, *, into: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Fill `into`, which may be `x`, with its norm; return it with the means and scales, both (B, C)."""
    mean, scale = (x.new_empty(x.shape[:2]) for _ in range(2))
    for index in range(len(x)):
        out = into[index : index + 1], mean[index], scale[index]
        torch.native_batch_norm(x[index : index + 1], weight, bias, None, None, True, 0.0, eps, out=out)
    return into, mean, scale


class _SampleBySample(torch.autograd.Function):
    """An instance norm computed as a batch norm of each sample alone, for the CPU and channels-last.

    In the backward pass, torch's group norm with one channel per group processes the channels of a voxel one
    by one. Batch norm processes them together, in a quarter of the time. It is also more exact: group norm
    loses digits if a mean is many standard deviations from zero.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
        normed, mean, scale = _norm_samples(x, weight, bias, eps, into=torch.empty_like(x))
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.eps, ctx.shifted = eps, bias is not None
        return normed

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight, *statistics = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is requested
            spread, mean = torch.var_mean(x, (2, 3, 4), correction=0, keepdim=True)
            scaled = (x - mean) * (spread + ctx.eps).rsqrt() * weight[:, None, None, None]
            found = differentiable_grads(scaled, (x, weight), grad)
            return found[0], found[1], grad.sum((0, 2, 3, 4)) if ctx.shifted else None, None
        grad = grad.contiguous(memory_format=torch.channels_last_3d)
        samples = [
            torch.ops.aten.native_batch_norm_backward(
                *(grad[index : index + 1], x[index : index + 1], weight, None, None),
                *(part[index] for part in statistics),
                *(True, ctx.eps, [True, True, True]),
            )
            for index in range(len(x))
        ]
        of_x, *others = zip(*samples, strict=True)
        of_weight, of_bias = (torch.stack(part).sum(0) for part in others)
        return torch.cat(of_x), of_weight, of_bias if ctx.shifted else None, None


class _RowByRow(torch.autograd.Function):
    """An instance norm computed by sums over rows of voxels, for channels that do not fill vector registers.

    For 8 channels it takes about half the time of `_SampleBySample`. It also returns the normalised rows and
    the scale (B, 1, C), which it saves for its gradient. As outputs they have gradients themselves, so second
    derivatives are correct although the input is not saved.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = _rows(x)
        normed = rows - rows.mean(1, keepdim=True)
        scale = (normed.square().mean(1, keepdim=True) + eps).rsqrt_()
        normed.mul_(scale)
        ctx.save_for_backward(normed, weight, scale)
        ctx.size, ctx.shifted = x.shape[2:], bias is not None
        ctx.set_materialize_grads(False)
        result = torch.empty_like(x, memory_format=torch.channels_last_3d)
        torch.addcmul(torch.zeros_like(weight) if bias is None else bias, normed, weight, out=_rows(result))
        return result, normed, scale

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, of_normed: Tensor | None, of_scale: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None, None]:
        normed, weight, scale = ctx.saved_tensors
        rows = torch.zeros_like(normed) if grad is None else _rows(grad)
        of_weight, of_bias = (rows * normed).sum(1, keepdim=True), rows.sum(1, keepdim=True)
        if torch.is_grad_enabled() or of_normed is not None or of_scale is not None:
            of_x = _row_grads(rows * weight, normed, scale, of_normed, of_scale)
        else:
            factor = scale * weight
            share = -factor / rows.shape[1]
            of_x = torch.addcmul(of_bias * share, normed, of_weight * share).addcmul_(rows, factor)
        channels_last = of_x.view(len(rows), *ctx.size, rows.shape[2])
        return (
            channels_last.permute(0, 4, 1, 2, 3),
            of_weight.sum((0, 1)),
            of_bias.sum((0, 1)) if ctx.shifted else None,
            None,
        )


def _row_grads(
    grad: Tensor, normed: Tensor, scale: Tensor, of_normed: Tensor | None, of_scale: Tensor | None
) -> Tensor:
    """Return the gradient of the rows (B, voxels, C), computed by differentiable operations."""
    grad = grad if of_normed is None else grad + of_normed
    part = grad - grad.mean(1, keepdim=True) - normed * (grad * normed).mean(1, keepdim=True)
    if of_scale is not None:
        part = part - scale * normed * of_scale / normed.shape[1]
    return scale * part


def _rows(x: Tensor) -> Tensor:
    """Return (B, C, D, H, W) as (B, voxels, C): a view if the input is channels-last, else a copy."""
    last = x.contiguous(memory_format=torch.channels_last_3d)
    return last.permute(0, 2, 3, 4, 1).reshape(len(x), -1, x.shape[1])


_GROUP = 8  # most channels per group of a group norm


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels // math.gcd(channels, _GROUP), channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "instance": InstanceNorm3d,
    "group": _group_norm,
    "batch": nn.BatchNorm3d,
}
ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "leaky_relu": lambda _channels: nn.LeakyReLU(0.01, inplace=True),
    "relu": lambda _channels: nn.ReLU(inplace=True),
    "relu6": lambda _channels: nn.ReLU6(inplace=True),
    "prelu": nn.PReLU,
    "silu": lambda _channels: nn.SiLU(),
    "gelu": lambda _channels: nn.GELU(),
}


@dataclass(frozen=True)
class Style:
    """The kinds of norm and activation that follow a convolution."""

    norm: str = "instance"
    activation: str = "leaky_relu"

    def normalise(self, channels: int) -> nn.Module:
        """Return the norm, with learnt scale and shift."""
        return NORMS[self.norm](channels)

    def bend(self, channels: int) -> nn.Module:
        """Return the activation."""
        return ACTIVATIONS[self.activation](channels)

    def finish(self, channels: int) -> list[nn.Module]:
        """Return norm and activation."""
        return [self.normalise(channels), self.bend(channels)]

    def weights(self, channels: int) -> int:
        """Return the number of weights of `finish`: scales, shifts and, for prelu, slopes."""
        return (3 if self.activation == "prelu" else 2) * channels


USUAL = Style()
