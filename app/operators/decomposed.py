"""Convolutions decomposed after training: a chain of smaller convolutions replaces each dense one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from torch import nn

from app.core.errors import InputError
from app.core.types import Size, as_size
from app.layers.cost import Cost
from app.layers.grouped import GroupedConv, build_chain, chain_cost, depthwise, pointwise
from app.operators import operator_from
from app.operators.operator import ConvSpec, Wrapper

DECOMPOSED_FORMS = ("depthwise", "channel", "spatial")


@dataclass(frozen=True)
class Factors:
    """The convolutions that replace a dense convolution.

    depthwise: `rank` filters per channel with each of `kernels` in turn, then 1x1x1.
    channel: a dense convolution to `rank` channels, then 1x1x1.
    spatial: a dense convolution with the first of `kernels` to `rank` channels, then one with the second.
    """

    form: str
    rank: int
    kernels: tuple[Size, ...]
    """Kernels of the chain; together they have the extent of the dense convolution's kernel."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.form not in DECOMPOSED_FORMS or self.rank < 1:
            raise InputError(
                f"decomposed: got {self.form!r} of rank {self.rank}, wanted {', '.join(DECOMPOSED_FORMS)}"
            )

    def chain(self, conv: ConvSpec) -> list[GroupedConv]:
        """Return the convolutions that replace `conv`."""
        strides = share_stride(self.kernels, conv.stride)
        if self.form == "depthwise":
            first = depthwise(conv.in_channels, self.kernels[0], strides[0], multiplier=self.rank)
            rest = [
                depthwise(first.out_channels, kernel, stride)
                for kernel, stride in zip(self.kernels[1:], strides[1:], strict=True)
            ]
            return [first, *rest, pointwise(first.out_channels, conv.out_channels)]
        first = GroupedConv(conv.in_channels, self.rank, self.kernels[0], strides[0])
        if self.form == "channel":
            return [first, pointwise(self.rank, conv.out_channels)]
        return [first, GroupedConv(self.rank, conv.out_channels, self.kernels[1], strides[1])]


@dataclass(frozen=True)
class Decomposed(Wrapper):
    """An operator that builds the named convolutions from factors and all others with its base."""

    convolutions: Mapping[str, Factors]

    def describe(self) -> dict[str, Any]:
        """Return the description of the base with the factors of each convolution."""
        named = {name: asdict(factors) for name, factors in self.convolutions.items()}
        return {**super().describe(), "convolutions": named}

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """Rebuild the operator from the fields of `describe`."""
        named = {str(name): _factors_from(entry) for name, entry in values["convolutions"].items()}
        return cls(operator_from(values["base"]), named)

    def build(self, conv: ConvSpec) -> nn.Module:
        """Build the chain of factors if the convolution has any, else the base's module."""
        factors = self.convolutions.get(conv.name)
        return self.base.build(conv) if factors is None else build_chain(factors.chain(conv))

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost of the chain of factors if the convolution has any, else the base's cost."""
        factors = self.convolutions.get(conv.name)
        return self.base.cost(conv, size) if factors is None else chain_cost(factors.chain(conv), size)


def share_stride(kernels: Sequence[Size], stride: Size) -> list[Size]:
    """Return the stride of each kernel of a chain.

    The stride along an axis goes to the first kernel with several taps along it; if there is none, to the
    first kernel.
    """
    owners = [next((i for i, kernel in enumerate(kernels) if kernel[axis] > 1), 0) for axis in range(3)]
    return [
        as_size([step if owner == index else 1 for step, owner in zip(stride, owners, strict=True)])
        for index in range(len(kernels))
    ]


def _factors_from(entry: Mapping[str, Any]) -> Factors:
    kernels = tuple(as_size(kernel) for kernel in entry["kernels"])
    return Factors(str(entry["form"]), int(entry["rank"]), kernels)
