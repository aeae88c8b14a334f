"""`op.attention=...`: any operator with an added gate per channel after the norm of each convolution.

A gate sees the convolution's output before that norm, because after it a channel's mean hardly depends on the
input.
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
    """An operator that adds a gate to each convolution of its base; costs do not include the gates."""

    attention: str
    eca: EcaSettings = PUBLISHED

    def __post_init__(self) -> None:
        """Validate the name of the gate."""
        if self.attention not in ATTENTIONS:
            raise InputError(f"op.attention: got {self.attention!r}, wanted one of {', '.join(ATTENTIONS)}")

    def describe(self) -> dict[str, Any]:
        """Return the description of the base with the gate's name and settings."""
        return {**super().describe(), "attention": self.attention, "eca": asdict(self.eca)}

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """Rebuild the operator from the fields of `describe`."""
        settings = EcaSettings(**values.get("eca", {}))
        return cls(operator_from(values["base"]), str(values["attention"]), settings)

    def build(self, conv: ConvSpec) -> nn.Module:
        """Build the base's module; if it includes its norm, the gate is inside it too."""
        if self._inside(conv):
            conv = replace(conv, gate=lambda channels: self._gate(conv, channels))
        return self.base.build(conv)

    def gates(self, conv: ConvSpec) -> Sequence[nn.Module]:
        """Return the base's gates, then this operator's gate unless it is inside the module."""
        own = () if self._inside(conv) else (self._gate(conv, self.width(conv)),)
        return (*self.base.gates(conv), *own)

    def _inside(self, conv: ConvSpec) -> bool:
        return conv.style is not None and self.takes_gate(conv)

    def _gate(self, conv: ConvSpec, channels: int) -> Eca:
        return Eca(channels, of_level(self.eca.kernel, conv, "op.eca.kernel"), self.eca)
