"""Blocks of convolution, norm and activation."""

from collections.abc import Sequence

from torch import Tensor, nn

from app.layers.convolution import FastConv3d
from app.layers.norm import USUAL, InstanceNorm3d, Style
from app.operators import ConvSpec, Operator


class PlainBlock(nn.Sequential):
    """A block of convolution, norm, activation and the operator's gates."""

    convolutions = 1

    def __init__(
        self, convs: Sequence[ConvSpec], operator: Operator, style: Style = USUAL, *, gated: bool = True
    ) -> None:
        (conv,) = convs
        tail = [] if operator.complete(conv) else [style.bend(operator.width(conv))]
        gates = operator.gates(conv) if gated else ()
        super().__init__(*_normalised(conv, operator, style), *tail, *gates)
        self.gates = len(gates)
        self.squeezes_before_norm = conv.style is not None
        if not gates:
            _overwrite(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to (B, out, D/s, H/s, W/s), sizes rounded up."""
        convolve, *rest = self
        y = response = convolve(x)
        for module in rest[: len(rest) - self.gates]:
            y = module(y)
        for gate in rest[len(rest) - self.gates :]:
            y = gate(y, response if self.squeezes_before_norm else y)
        return y  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """A residual block: two convolutions with norms, then the operator's gates, the sum and the activation.

    If the stride is not 1, the input is averaged over it before the sum; if the width changes, the input is
    projected by a 1x1x1 convolution. In networks of version 1 the gates follow the first activation.
    """

    convolutions = 2

    def __init__(self, convs: Sequence[ConvSpec], operator: Operator, style: Style = USUAL) -> None:
        super().__init__()
        first, second = convs
        self.first = PlainBlock([first], operator, style, gated=first.style is None)
        self.second = nn.Sequential(*_normalised(second, operator, style))
        self.gates = nn.ModuleList(operator.gates(second) if second.style is not None else [])
        if not self.gates:
            _overwrite(self.second)
        self.shortcut = nn.Sequential()
        if first.stride != (1, 1, 1):
            self.shortcut.append(nn.AvgPool3d(first.stride, first.stride, ceil_mode=True))
        width = operator.width(second)
        if first.in_channels != width:
            self.shortcut.append(FastConv3d(first.in_channels, width, 1, bias=False))
            self.shortcut.append(style.normalise(width))
        self.activation = style.bend(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to (B, out, D/s, H/s, W/s), sizes rounded up."""
        convolve, *rest = self.second
        y = response = convolve(self.first(x))
        for module in rest:
            y = module(y)
        for gate in self.gates:
            y = gate(y, response)
        return self.activation(y + self.shortcut(x))  # type: ignore[no-any-return]


def _normalised(conv: ConvSpec, operator: Operator, style: Style) -> list[nn.Module]:
    norm = [] if operator.complete(conv) else [style.normalise(conv.out_channels)]
    return [operator.build(conv), *norm]


def _overwrite(convolved: nn.Sequential) -> None:
    """Let the norm overwrite the convolution's output, which nothing else reads if no gates follow."""
    for module in convolved:
        if isinstance(module, InstanceNorm3d):
            module.overwrites = True


Block = type[PlainBlock] | type[ResidualBlock]
BLOCKS: dict[str, Block] = {"plain": PlainBlock, "residual": ResidualBlock}
