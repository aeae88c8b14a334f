"""The interface of an operator, which builds every spatial convolution of a network."""

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
    """The description of a spatial convolution that a network needs.

    `kernel` is its largest extent along (D, H, W): 1 along axes on which the data are too coarse.
    """

    name: str
    in_channels: int
    out_channels: int
    kernel: Size
    stride: Size
    size: Size | None = None
    """Size of its input for a patch, in voxels; None if the patch size is unknown."""
    style: Style | None = USUAL
    """Norm and activation of the network's blocks, for operators whose modules include both.

    None in networks of version 1, in which each such operator has its own style and gates squeeze maps after
    the norm (`app.models.model.VERSION`)."""
    gate: Callable[[int], nn.Module] | None = None
    """A function that builds a gate for a number of channels, for modules that include their last norm."""

    @property
    def level(self) -> int:
        """Level of the network, from the second part of the name; 0 is the finest."""
        return int(self.name.split(".")[1])


class Operator(Registered, ABC):
    """A builder of one module for each spatial convolution of a network.

    A module maps (B, in, D, H, W) to (B, out, D/s, H/s, W/s) with stride s, sizes rounded up. It has no bias,
    because a norm follows it, unless the module is complete, that is, includes its norm.
    """

    def bind(self, convolutions: Sequence[ConvSpec]) -> "Operator":
        """Return the operator adapted to a network's convolutions; by default it needs no adaptation."""
        return self

    @abstractmethod
    def build(self, conv: ConvSpec) -> nn.Module:
        """Build the module of one convolution."""

    def width(self, conv: ConvSpec) -> int:
        """Return the output channels of the module: more than `out_channels` if it concatenates paths."""
        return conv.out_channels

    def complete(self, conv: ConvSpec) -> bool:
        """Return whether the module includes its norm and activation, so that neither must follow."""
        return False

    def takes_gate(self, conv: ConvSpec) -> bool:
        """Return whether the module itself applies the gate of its convolution (`ConvSpec.gate`)."""
        return False

    def gates(self, conv: ConvSpec) -> Sequence[nn.Module]:
        """Return gates that follow norm and activation; they get the map and the convolution's output."""
        return ()

    def fits_other_sizes(self) -> bool:
        """Return whether the modules compute the same for windows larger than the training patch."""
        return True

    def kernel_layout(self) -> Layout | None:
        """Return the layout of the operator's mixed convolutions; None if it builds none."""
        return None

    @abstractmethod
    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost of one convolution whose input has `size` voxels."""


@dataclass(frozen=True)
class Wrapper(Operator):
    """A base class of operators that wrap another operator, `base`, and pass all calls to it by default."""

    base: Operator

    def describe(self) -> dict[str, Any]:
        """Return the kind and the description of the base."""
        return {"kind": type(self).__name__, "base": self.base.describe()}

    def bind(self, convolutions: Sequence[ConvSpec]) -> Operator:
        """Return this operator with its base bound to the convolutions."""
        return replace(self, base=self.base.bind(convolutions))

    def build(self, conv: ConvSpec) -> nn.Module:
        """Build the base's module."""
        return self.base.build(conv)

    def width(self, conv: ConvSpec) -> int:
        """Return the base's width."""
        return self.base.width(conv)

    def complete(self, conv: ConvSpec) -> bool:
        """Return whether the base's module is complete."""
        return self.base.complete(conv)

    def takes_gate(self, conv: ConvSpec) -> bool:
        """Return whether the base's module applies the gate."""
        return self.base.takes_gate(conv)

    def gates(self, conv: ConvSpec) -> Sequence[nn.Module]:
        """Return the base's gates."""
        return self.base.gates(conv)

    def fits_other_sizes(self) -> bool:
        """Return whether the base's modules fit other sizes."""
        return self.base.fits_other_sizes()

    def kernel_layout(self) -> Layout | None:
        """Return the base's layout."""
        return self.base.kernel_layout()

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the base's cost."""
        return self.base.cost(conv, size)


def of_level(value: _Value | Sequence[_Value], conv: ConvSpec, key: str) -> _Value:
    """Return a setting; from a list with one value per level, finest first, the value for `conv`'s level.

    Raises:
        InputError: the list is too short; the message begins with `key`.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        return value
    if conv.level >= len(value):
        raise InputError(f"{key}: got {len(value)} values, wanted one for each level, {conv.name} has none")
    return value[conv.level]
