"""Blocks of convolution, norm and activation."""

from collections.abc import Sequence

from torch import Tensor, nn

from app.layers.convolution import FastConv3d
from app.layers.norm import USUAL, Style
from app.operators import ConvSpec, Operator


class PlainBlock(nn.Sequential):
    """Convolution, norm, activation, and the operator's gates."""

    convolutions = 1

    def __init__(self, convs: Sequence[ConvSpec], operator: Operator, style: Style = USUAL) -> None:
        (conv,) = convs
        tail = [] if operator.complete(conv) else [style.bend()]
        super().__init__(*_normalised(conv, operator, style), *tail, *operator.gates(conv))


class ResidualBlock(nn.Module):
    """Two convolutions with norms, added to their input, then activation.

    Where stride or width change, the input is averaged over the stride and projected by 1x1x1. A gate
    follows the first activation: right after a norm, whose mean is the same for every input, it would be
    a constant.
    """

    convolutions = 2

    def __init__(self, convs: Sequence[ConvSpec], operator: Operator, style: Style = USUAL) -> None:
        super().__init__()
        first, second = convs
        self.first = PlainBlock([first], operator, style)
        self.second = nn.Sequential(*_normalised(second, operator, style))
        self.shortcut = nn.Sequential()
        if first.stride != (1, 1, 1):
            self.shortcut.append(nn.AvgPool3d(first.stride, first.stride, ceil_mode=True))
        width = operator.width(second)
        if first.in_channels != width:
            self.shortcut.append(FastConv3d(first.in_channels, width, 1, bias=False))
            self.shortcut.append(style.normalise(width))
        self.activation = style.bend()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D/s, H/s, W/s), rounded up."""
        return self.activation(self.second(self.first(x)) + self.shortcut(x))  # type: ignore[no-any-return]


def _normalised(conv: ConvSpec, operator: Operator, style: Style) -> list[nn.Module]:
    norm = [] if operator.complete(conv) else [style.normalise(conv.out_channels)]
    return [operator.build(conv), *norm]


Block = type[PlainBlock] | type[ResidualBlock]
BLOCKS: dict[str, Block] = {"plain": PlainBlock, "residual": ResidualBlock}
