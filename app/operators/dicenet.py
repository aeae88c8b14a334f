"""op=dicenet: the DiCE unit, alone or in the blocks of DiCENet (Mehta et al., TPAMI 44(5), 2022)."""

from dataclasses import dataclass

from torch import nn

from app.core.errors import InputError
from app.core.types import Size
from app.layers.cost import Cost, strided
from app.layers.dice import BypassDice, DiceSpec, DiceUnit, StridedDice, bypass_cost, strided_cost
from app.layers.squeeze import SQUEEZES
from app.operators.channelwise import Channelwise
from app.operators.operator import ConvSpec

FORMS = ("unit", "block")


@dataclass(frozen=True)
class DiceNet(Channelwise):
    """Units or blocks that end with their own norm, activation and gate."""

    complete_apart = True

    reduction: int
    """Input channels for each hidden unit of the gate."""
    form: str = "unit"
    """unit: a DiCE unit in place of each convolution, after averages over a stride. block: DiCENet's strided
    unit where there is a stride, else its block, half of whose input channels pass unchanged."""
    squeeze: str = "mean"
    """What the gate sees of a channel: its mean, or the moments: mean and deviation."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.reduction < 1:
            raise InputError(f"op.reduction: got {self.reduction}, wanted at least 1")
        for name, known in (("form", FORMS), ("squeeze", SQUEEZES)):
            if getattr(self, name) not in known:
                raise InputError(f"op.{name}: got {getattr(self, name)!r}, wanted one of {', '.join(known)}")

    def fits_other_sizes(self) -> bool:
        """No: each slice of a patch has its own kernel."""
        return False

    def build_apart(self, conv: ConvSpec) -> nn.Module:
        """A unit or block for the size the network sees a patch at."""
        spec, straight = self._spec(conv), conv.stride == (1, 1, 1)
        if self.form == "block":
            return BypassDice(spec) if straight else StridedDice(spec, conv.stride)
        if straight:
            return DiceUnit(spec)
        return nn.Sequential(nn.AvgPool3d(conv.stride, conv.stride, ceil_mode=True), DiceUnit(spec))

    def cost_apart(self, conv: ConvSpec, size: Size) -> Cost:
        """Convolutions, gates, norms and activations."""
        spec = self._spec(conv)
        if self.form == "unit":
            return spec.cost(strided(size, conv.stride))
        if conv.stride == (1, 1, 1):
            return bypass_cost(spec, size)
        return strided_cost(spec, conv.stride, size)

    def _spec(self, conv: ConvSpec) -> DiceSpec:
        if conv.size is None:
            raise InputError(f"{conv.name}: op=dicenet is made for one size of patch, and none is planned")
        return DiceSpec(
            in_channels=conv.in_channels,
            out_channels=conv.out_channels,
            kernel=conv.kernel,
            size=strided(conv.size, conv.stride),
            reduction=self.reduction,
            squeeze=self.squeeze,
            style=conv.style,
            gate=conv.gate,
        )
