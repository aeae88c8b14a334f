"""How a user asks for CAKES: by a named set of kernels in equal split, or by a layout file."""

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
    """What `op=cakes` says; `bind` turns it into the layout of a network.

    `align` > 1 hands channels out in multiples of it (groups as wide as a vector register run faster) and
    lets neighbouring convolutions begin with different kernels, so that all axes are still covered.
    """

    kernels: str | Sequence[str]
    """A named set, or a list of kernels."""
    align: int
    layout: str | None
    """Path of a layout file; it goes before `kernels`."""

    def bind(self, convolutions: Sequence[ConvSpec]) -> Operator:
        """Mixed convolutions by the file, or in equal split of the set.

        Raises:
            InputError: no such set or file, or the file's layout is for another network.
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
        """Only what is bound can be built."""
        raise AssertionError("bind a Cakes operator to a network's convolutions first")

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Only what is bound has a cost."""
        raise AssertionError("bind a Cakes operator to a network's convolutions first")


def split(conv: ConvSpec, kernels: Sequence[Kernel], align: int, turn: int) -> dict[Kernel, int]:
    """Channels per kernel, as even as multiples of `align` allow, the remainder to the first.

    Kernels are flattened to the axes the convolution may extend along; ones that become equal are one. With
    `align` > 1, convolution number `turn` begins `turn` times as many places further on in the list, which
    goes round, as it has kernels.
    """
    distinct = list(dict.fromkeys(kernel.within(conv.kernel) for kernel in kernels))
    units = max(1, conv.out_channels // align)
    count = min(len(distinct), units)
    first = turn * count % len(distinct) if align > 1 else 0
    chosen = (distinct + distinct)[first : first + count]
    groups = dict.fromkeys(chosen, units // count * align)
    groups[chosen[0]] += conv.out_channels - sum(groups.values())
    return groups
