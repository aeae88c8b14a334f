"""Channels of two maps beside each other under one activation, each written once and to its place."""

from typing import Any

import torch
from torch import Tensor, nn

from app.layers.device_policy import policy_of


def activated_beside(first: Tensor, second: Tensor, activation: nn.Module) -> Tensor:
    """(B, C1, D, H, W), (B, C2, D, H, W) -> activation of both (B, C1 + C2, D, H, W).

    ReLU and its leaky form write straight into the map that both end up in, so that no copy is made of
    either: the buffer that a shortcut shift writes into.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
    alike = first.dtype == second.dtype
    if isinstance(activation, nn.ReLU | nn.LeakyReLU) and alike and not traced:
        slope = activation.negative_slope if isinstance(activation, nn.LeakyReLU) else 0.0
        result: Tensor = _Beside.apply(first, second, slope)  # type: ignore[no-untyped-call]
        return result
    return activation(torch.cat([first, second], dim=1))  # type: ignore[no-any-return]


class _Beside(torch.autograd.Function):
    """The gradient goes by the sign of the result, which is all that is kept."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, slope: float) -> Tensor:
        channels = [first.shape[1], second.shape[1]]
        result = torch.empty(
            (len(first), sum(channels), *first.shape[2:]),
            dtype=first.dtype,
            device=first.device,
            memory_format=policy_of(first.device).memory_format,
        )
        for part, place in zip((first, second), torch.split(result, channels, dim=1), strict=True):
            torch.ops.aten.leaky_relu.out(part, slope, out=place)
        ctx.save_for_backward(result)
        ctx.channels, ctx.slope = channels, slope
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (result,) = ctx.saved_tensors
        signs = torch.split(result.detach(), ctx.channels, dim=1)
        first, second = (
            torch.ops.aten.leaky_relu_backward(part, sign, ctx.slope, True)
            for part, sign in zip(torch.split(grad, ctx.channels, dim=1), signs, strict=True)
        )
        return first, second, None
