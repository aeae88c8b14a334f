"""`op=dicenet`: the DiCE unit, alone or in the blocks of DiCENet (Mehta et al., TPAMI 44(5), 2022)."""

from dataclasses import dataclass

from torch import nn

from app.core.errors import InputError
from app.core.types import Size
from app.layers.cost import Cost, strided
from app.layers.dice import BypassDice, DiceSpec, DiceUnit, StridedDice, bypass_cost, strided_cost
from app.layers.squeeze import SQUEEZES
from app.operators.channelwise import Channelwise
from app.operators.operator import ConvSpec

DICENET_FORMS = ("unit", "block")


@dataclass(frozen=True)
class DiceNet(Channelwise):
    """The operator `op=dicenet`: units or blocks, which include norm, activation and gate."""

    channelwise_complete = True

    reduction: int
    """Input channels per hidden unit of the gate."""
    form: str = "unit"
    """Form of the modules. unit: a DiCE unit replaces each convolution, after averages over a stride. block:
    DiCENet's strided unit if there is a stride, else its block, which passes half of its input unchanged."""
    squeeze: str = "mean"
    """Numbers per channel that the gate sees: mean, or moments (mean and deviation)."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.reduction < 1:
            raise InputError(f"op.reduction: got {self.reduction}, wanted at least 1")
        for name, known in (("form", DICENET_FORMS), ("squeeze", SQUEEZES)):
            if getattr(self, name) not in known:
                raise InputError(f"op.{name}: got {getattr(self, name)!r}, wanted one of {', '.join(known)}")

    def fits_other_sizes(self) -> bool:
        """Return False: each slice of a patch has its own kernel."""
        return False

    def build_channelwise(self, conv: ConvSpec) -> nn.Module:
        """Build a unit or block for the size that a patch has at this convolution."""
        spec, straight = self._spec(conv), conv.stride == (1, 1, 1)
        if self.form == "block":
            return BypassDice(spec) if straight else StridedDice(spec, conv.stride)
        if straight:
            return DiceUnit(spec)
        return nn.Sequential(nn.AvgPool3d(conv.stride, conv.stride, ceil_mode=True), DiceUnit(spec))

    def channelwise_cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost of convolutions, gates, norms and activations."""
        spec = self._spec(conv)
        if self.form == "unit":
            return spec.cost(strided(size, conv.stride))
        if conv.stride == (1, 1, 1):
            return bypass_cost(spec, size)
        return strided_cost(spec, conv.stride, size)

    def _spec(self, conv: ConvSpec) -> DiceSpec:
        if conv.size is None:
            raise InputError(f"{conv.name}: op=dicenet needs a fixed patch size, and none is planned")
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
