"""What an operator is: the maker of every spatial convolution of a network."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from app.core.layout import Layout
from app.core.registry import Registered
from app.core.types import Size
from app.layers.cost import Cost


@dataclass(frozen=True)
class ConvSpec:
    """One spatial convolution a network asks for.

    `kernel` is the largest extent it may have along (D, H, W): 1 where the data are too coarse to convolve.
    """

    name: str
    in_channels: int
    out_channels: int
    kernel: Size
    stride: Size
    size: Size | None = None
    """Voxels of its input where the network sees a patch; None where no patch is planned."""


class Operator(Registered, ABC):
    """Makes the module (B, in, D, H, W) -> (B, out, D/s, H/s, W/s), rounded up, for each convolution.

    No bias: a norm follows every convolution that is not complete in itself.
    """

    def bind(self, convolutions: Sequence[ConvSpec]) -> "Operator":
        """The operator made for these convolutions; most are the same for all."""
        return self

    @abstractmethod
    def build(self, conv: ConvSpec) -> nn.Module:
        """The module of one convolution."""

    def width(self, conv: ConvSpec) -> int:
        """Channels of its module's output; more than asked for if kernels are searched side by side."""
        return conv.out_channels

    def complete(self, conv: ConvSpec) -> bool:
        """Whether its module brings its own norm and activation, so that none may follow."""
        return False

    def gates(self, conv: ConvSpec) -> Sequence[nn.Module]:
        """What follows the activation."""
        return ()

    def kernel_layout(self) -> Layout | None:
        """The sub-kernels of its mixed convolutions, where it makes any."""
        return None

    @abstractmethod
    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """The cost of one convolution whose input has `size` voxels."""


@dataclass(frozen=True)
class Wrapper(Operator):
    """Everything as `base` does it."""

    base: Operator

    def describe(self) -> dict[str, Any]:
        """With the base's description."""
        return {"kind": type(self).__name__, "base": self.base.describe()}

    def bind(self, convolutions: Sequence[ConvSpec]) -> Operator:
        """Around the bound base."""
        return replace(self, base=self.base.bind(convolutions))

    def build(self, conv: ConvSpec) -> nn.Module:
        """The base's."""
        return self.base.build(conv)

    def width(self, conv: ConvSpec) -> int:
        """The base's."""
        return self.base.width(conv)

    def complete(self, conv: ConvSpec) -> bool:
        """As the base is."""
        return self.base.complete(conv)

    def gates(self, conv: ConvSpec) -> Sequence[nn.Module]:
        """The base's."""
        return self.base.gates(conv)

    def kernel_layout(self) -> Layout | None:
        """The base's."""
        return self.base.kernel_layout()

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """The base's."""
        return self.base.cost(conv, size)
