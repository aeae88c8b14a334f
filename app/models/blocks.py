"""Blocks of convolution, instance norm and activation."""

from collections.abc import Sequence

from torch import Tensor, nn

from app.ops import ConvSpec, Operator


def instance_norm(channels: int) -> nn.Module:
    """Instance norm with learnt scale and shift, as a group norm of one channel a group.

    Equal to torch's InstanceNorm3d, which would leave the channels-last layout at a third of a step's time.
    """
    return nn.GroupNorm(channels, channels)


def activation() -> nn.Module:
    """LeakyReLU of slope 0.01, in place."""
    return nn.LeakyReLU(0.01, inplace=True)


class PlainBlock(nn.Sequential):
    """Convolution, norm, activation."""

    convolutions = 1

    def __init__(self, convs: Sequence[ConvSpec], operator: Operator) -> None:
        (conv,) = convs
        super().__init__(operator.build(conv), instance_norm(conv.out_channels), activation())


class ResidualBlock(nn.Module):
    """Two convolutions with norms, added to their input, then activation.

    Where stride or width change, the input is averaged over the stride and projected by 1x1x1.
    """

    convolutions = 2

    def __init__(self, convs: Sequence[ConvSpec], operator: Operator) -> None:
        super().__init__()
        first, second = convs
        self.first = PlainBlock([first], operator)
        self.second = nn.Sequential(operator.build(second), instance_norm(second.out_channels))
        self.shortcut = nn.Sequential()
        if first.stride != (1, 1, 1):
            self.shortcut.append(nn.AvgPool3d(first.stride, first.stride, ceil_mode=True))
        if first.in_channels != first.out_channels:
            self.shortcut.append(nn.Conv3d(first.in_channels, first.out_channels, 1, bias=False))
            self.shortcut.append(instance_norm(first.out_channels))
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D/s, H/s, W/s), rounded up."""
        total: Tensor = self.second(self.first(x)).add_(self.shortcut(x))
        return self.activation(total)  # type: ignore[no-any-return]


Block = type[PlainBlock] | type[ResidualBlock]
BLOCKS: dict[str, Block] = {"plain": PlainBlock, "residual": ResidualBlock}
