"""What an operator is: the maker of every spatial convolution of a network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import nn

from app.core.errors import InputError
from app.core.layout import Layout
from app.core.registry import Registered
from app.core.types import Size
from app.layers.cost import Cost
from app.layers.norm import USUAL, Style

_Value = TypeVar("_Value")


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
    style: Style | None = USUAL
    """Norm and activation of the network's blocks, for operators that bring their own.

    None in networks of version 1, where each such operator has a style of its own, and gates squeeze maps
    after their norm (`app.models.model.VERSION`)."""
    gate: Callable[[int], nn.Module] | None = None
    """Makes a gate for a number of channels, which a module complete in itself puts after its last norm."""

    @property
    def level(self) -> int:
        """Level of the network, 0 the finest: the second part of the name."""
        return int(self.name.split(".")[1])


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

    def takes_gate(self, conv: ConvSpec) -> bool:
        """Whether its module puts the gate of its convolution (`ConvSpec.gate`) where it belongs."""
        return False

    def gates(self, conv: ConvSpec) -> Sequence[nn.Module]:
        """Gates that follow norm and activation; called with the map and the convolution's output."""
        return ()

    def fits_other_sizes(self) -> bool:
        """Whether its modules compute the same for windows larger than the patch they are made for."""
        return True

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

    def takes_gate(self, conv: ConvSpec) -> bool:
        """As the base does."""
        return self.base.takes_gate(conv)

    def gates(self, conv: ConvSpec) -> Sequence[nn.Module]:
        """The base's."""
        return self.base.gates(conv)

    def fits_other_sizes(self) -> bool:
        """As the base does."""
        return self.base.fits_other_sizes()

    def kernel_layout(self) -> Layout | None:
        """The base's."""
        return self.base.kernel_layout()

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """The base's."""
        return self.base.cost(conv, size)


def of_level(value: _Value | Sequence[_Value], conv: ConvSpec, key: str) -> _Value:
    """Return a setting, or of a list of one for each level, the finest first, that of the convolution's.

    Raises:
        InputError: the list is too short; the message begins with `key`.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        return value
    if conv.level >= len(value):
        raise InputError(f"{key}: got {len(value)} values, wanted one for each level, {conv.name} has none")
    return value[conv.level]
