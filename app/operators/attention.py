"""`op.attention=...`: any operator, a gate after the activation that follows its convolutions.

The gate comes after the activation because an instance norm leaves nothing of a factor before it, and its
output has the same mean whatever the input.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import nn

from app.core.errors import InputError
from app.layers.eca import Eca
from app.operators import operator_from
from app.operators.operator import ConvSpec, Wrapper

ATTENTIONS: dict[str, Callable[[int], nn.Module]] = {"eca": Eca}


@dataclass(frozen=True)
class Attended(Wrapper):
    """Another operator, with a gate for each convolution; the gate is no part of the convolution's cost."""

    attention: str

    def __post_init__(self) -> None:
        """Validate the gate."""
        if self.attention not in ATTENTIONS:
            raise InputError(f"op.attention: got {self.attention!r}, wanted one of {', '.join(ATTENTIONS)}")

    def describe(self) -> dict[str, Any]:
        """With the gate's name."""
        return {**super().describe(), "attention": self.attention}

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """The inverse of `describe`."""
        return cls(operator_from(values["base"]), str(values["attention"]))

    def gates(self, conv: ConvSpec) -> Sequence[nn.Module]:
        """The gate, after any of the base's."""
        return (*self.base.gates(conv), ATTENTIONS[self.attention](conv.out_channels))
