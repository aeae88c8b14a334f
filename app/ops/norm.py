"""What follows a convolution: instance norm and activation."""

from torch import nn


def instance_norm(channels: int) -> nn.Module:
    """Instance norm with learnt scale and shift, as a group norm of one channel a group.

    Equal to torch's InstanceNorm3d, which would leave the channels-last layout at a third of a step's time.
    """
    return nn.GroupNorm(channels, channels)


def activation() -> nn.Module:
    """LeakyReLU of slope 0.01, in place."""
    return nn.LeakyReLU(0.01, inplace=True)
