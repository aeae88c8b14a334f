"""`op.attention=...`: any operator, with a gate for each channel after the norm of each convolution.

What a gate sees is the convolution's output before that norm: afterwards a map hardly shows its input.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from torch import nn

from app.core.errors import InputError
from app.layers.eca import PUBLISHED, Eca, EcaSettings
from app.operators import operator_from
from app.operators.operator import ConvSpec, Wrapper, of_level

ATTENTIONS = ("eca",)


@dataclass(frozen=True)
class Attended(Wrapper):
    """Another operator, with a gate for each convolution; the gate is no part of the convolution's cost."""

    attention: str
    eca: EcaSettings = PUBLISHED

    def __post_init__(self) -> None:
        """Validate the gate."""
        if self.attention not in ATTENTIONS:
            raise InputError(f"op.attention: got {self.attention!r}, wanted one of {', '.join(ATTENTIONS)}")

    def describe(self) -> dict[str, Any]:
        """With the gate's name and settings."""
        return {**super().describe(), "attention": self.attention, "eca": asdict(self.eca)}

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """The inverse of `describe`."""
        settings = EcaSettings(**values.get("eca", {}))
        return cls(operator_from(values["base"]), str(values["attention"]), settings)

    def build(self, conv: ConvSpec) -> nn.Module:
        """The base's module, the gate inside where the module is complete in itself."""
        if self._inside(conv):
            conv = replace(conv, gate=lambda channels: self._gate(conv, channels))
        return self.base.build(conv)

    def gates(self, conv: ConvSpec) -> Sequence[nn.Module]:
        """The gate, after any of the base's."""
        own = () if self._inside(conv) else (self._gate(conv, self.width(conv)),)
        return (*self.base.gates(conv), *own)

    def _inside(self, conv: ConvSpec) -> bool:
        return conv.style is not None and self.takes_gate(conv)

    def _gate(self, conv: ConvSpec, channels: int) -> Eca:
        return Eca(channels, of_level(self.eca.kernel, conv, "op.eca.kernel"), self.eca)
