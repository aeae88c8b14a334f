"""`op.attention=...`: any operator, a gate after the activation that follows its convolutions.

The gate comes after the activation because an instance norm leaves nothing of a factor before it, and its
output has the same mean whatever the input.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import nn

from app.core.errors import InputError
from app.core.layout import Layout
from app.core.types import Size
from app.ops import operator_from
from app.ops.eca import Eca
from app.ops.operator import ConvSpec, Cost, Operator

ATTENTIONS: dict[str, Callable[[int], nn.Module]] = {"eca": Eca}


@dataclass(frozen=True)
class Attended(Operator):
    """Another operator, with a gate for each convolution."""

    operator: Operator
    attention: str

    def __post_init__(self) -> None:
        """Refuse gates nobody knows."""
        if self.attention not in ATTENTIONS:
            raise InputError(f"op.attention: got {self.attention!r}, wanted one of {', '.join(ATTENTIONS)}")

    def describe(self) -> dict[str, Any]:
        """With the other's description."""
        return {
            "kind": type(self).__name__,
            "operator": self.operator.describe(),
            "attention": self.attention,
        }

    @classmethod
    def restore(cls, values: dict[str, Any]) -> Self:
        """The inverse of `describe`."""
        return cls(operator_from(values["operator"]), values["attention"])

    def bind(self, convolutions: Sequence[ConvSpec]) -> Operator:
        """Bind the other."""
        return replace(self, operator=self.operator.bind(convolutions))

    def build(self, conv: ConvSpec) -> nn.Module:
        """As the other does."""
        return self.operator.build(conv)

    def complete(self, conv: ConvSpec) -> bool:
        """As the other is."""
        return self.operator.complete(conv)

    def gates(self, conv: ConvSpec) -> Sequence[nn.Module]:
        """The gate, after any of the other's."""
        return (*self.operator.gates(conv), ATTENTIONS[self.attention](conv.out_channels))

    def kernel_layout(self) -> Layout | None:
        """The other's."""
        return self.operator.kernel_layout()

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """The other's; the gate is no part of the convolution."""
        return self.operator.cost(conv, size)
