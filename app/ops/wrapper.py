"""An operator around another, which answers for everything the wrapper does not change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from app.core.layout import Layout
from app.core.types import Size
from app.ops.operator import ConvSpec, Cost, Operator


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
