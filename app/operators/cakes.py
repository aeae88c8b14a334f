"""`op=cakes`: mixed convolutions with equal shares for the kernels of a set, or with a layout file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.core.layout import Layout, read_layout
from app.core.types import Size
from app.layers.cost import Cost
from app.operators.mixed import Mixed
from app.operators.operator import ConvSpec, Operator
from app.operators.vocabulary import vocabulary


@dataclass(frozen=True)
class Cakes(Operator):
    """The settings of `op=cakes`; `bind` turns them into the layout of a network.

    With `align` > 1, groups have multiples of that many channels, because groups as wide as a vector register
    run faster. If a convolution then has fewer groups than there are kernels, the next one uses the kernels
    that follow, so that all axes are covered.
    """

    kernels: str | Sequence[str]
    """Name of a kernel set, or a list of kernels."""
    align: int
    layout: str | None
    """Path of a layout file; it overrides `kernels`."""

    def bind(self, convolutions: Sequence[ConvSpec]) -> Operator:
        """Return mixed convolutions with the layout of the file, or with equal shares for all kernels.

        Raises:
            InputError: the set or file does not exist, or the file's layout is for another network.
        """
        if self.layout is not None:
            return Mixed(read_layout(Path(self.layout))).bind(convolutions)
        if self.align < 1:
            raise InputError(f"op.align: got {self.align}, wanted 1 or more channels")
        kernels = vocabulary(self.kernels, "op.kernels")
        groups = {conv.name: split(conv, kernels, self.align, i) for i, conv in enumerate(convolutions)}
        provenance = {"method": "equal split", "kernels": [str(k) for k in kernels], "align": self.align}
        return Mixed(Layout(groups, provenance))

    def build(self, conv: ConvSpec) -> nn.Module:
        """Fail: only the bound operator can be built."""
        raise AssertionError("bind a Cakes operator to a network's convolutions first")

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Fail: only the bound operator has a cost."""
        raise AssertionError("bind a Cakes operator to a network's convolutions first")


def split(conv: ConvSpec, kernels: Sequence[Kernel], align: int, turn: int) -> dict[Kernel, int]:
    """Return the channels per kernel, as equal as multiples of `align` allow; the first gets the remainder.

    Kernels are flattened along axes on which the convolution has one tap; kernels that become equal count
    once. With `align` > 1, if there are too few channels for all kernels, each convolution (number `turn`)
    takes the kernels that follow those of the convolution before in the list, cyclically.
    """
    distinct = list(dict.fromkeys(kernel.within(conv.kernel) for kernel in kernels))
    units = max(1, conv.out_channels // align)
    count = min(len(distinct), units)
    first = turn * count % len(distinct) if align > 1 else 0
    chosen = (distinct + distinct)[first : first + count]
    groups = dict.fromkeys(chosen, units // count * align)
    groups[chosen[0]] += conv.out_channels - sum(groups.values())
    return groups
