"""The super-network: what the output channels (slots) of a convolution choose their kernels with.

- `sampled`: every slot has one candidate and one gate a kernel. At each step one kernel is drawn for a slot,
  or for a unit of neighbouring slots, from the softmax of its gates (Gumbel straight-through); in eval mode
  the likeliest. Slot c of the output is always made of the candidates of slot c, so the next convolution
  finds the same feature in the same place. All candidates cost one dense convolution.
- `concatenated`, `concatenated_random`: the super-networks of CAKES, see app.operators.paths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.core.types import Size, as_size
from app.layers.candidates import CANDIDATES, Candidates
from app.layers.convolution import conv3d
from app.layers.cost import Cost, strided
from app.operators.operator import ConvSpec, Operator
from app.operators.paths import PathsConv3d, RandomPathsConv3d
from app.operators.plain import Conv3d
from app.operators.searched import SearchedConv3d
from app.operators.vocabulary import vocabulary

_FIRST_GATE = 0.5  # as far from dying as from ruling


class SampledConv3d(SearchedConv3d):
    """One kernel a unit and step: (B, in, D, H, W) -> (B, slots, D/s, H/s, W/s), rounded up.

    `gates` is (kernels, units): each `unit` slots in a row have one gate a kernel.
    """

    def __init__(
        self, candidates: Candidates, slots: int, stride: Size, *, temperature: float, unit: int
    ) -> None:
        super().__init__(candidates.kernels, slots)
        self.candidates = candidates
        self.stride = stride
        self.temperature = temperature
        self.unit = unit
        self.gates = nn.Parameter(torch.full((len(candidates.kernels), -(-slots // unit)), _FIRST_GATE))

    def fix_chances(self, chances: Sequence[float]) -> None:
        """Draw kernels with these chances in every unit; gates stay so."""
        gates = self.temperature * torch.log(torch.tensor(chances))
        self.gates.data.copy_(gates[:, None].expand_as(self.gates))
        self.gates.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """One dense convolution with the chosen taps."""
        padding = as_size([voxels // 2 for voxels in self.candidates.cover])
        return conv3d(x, self.candidates.merged(self._choice()), stride=self.stride, padding=padding)

    def scores(self) -> Tensor:
        """Log probabilities."""
        return self.of_slots(F.log_softmax(self.gates.detach() / self.temperature, dim=0))

    def probabilities(self) -> Tensor:
        """Chance of each kernel in each slot, (kernels, slots), differentiable."""
        return self.of_slots(F.softmax(self.gates / self.temperature, dim=0))

    def keep(self, chosen: Tensor) -> None:
        """Leave one kernel a slot, `chosen` (slots,), the gates of the others dead.

        Minus infinity is a gate whose chance is zero; a unit goes by its first slot.
        """
        alive = torch.full_like(self.gates, -torch.inf).scatter_(0, chosen[None, :: self.unit], 0.0)
        self.gates.data.copy_(alive)

    def of_slots(self, of_units: Tensor) -> Tensor:
        """(kernels, units) -> (kernels, slots)."""
        return of_units.repeat_interleave(self.unit, dim=1)[:, : self.slots]

    def _choice(self) -> Tensor:
        logits = self.gates / self.temperature
        if self.training:
            return self.of_slots(F.gumbel_softmax(logits, hard=True, dim=0))
        likeliest = logits.argmax(dim=0, keepdim=True)
        return self.of_slots(torch.zeros_like(logits).scatter_(0, likeliest, 1.0))


PATHS: dict[str, type[PathsConv3d]] = {"concatenated": PathsConv3d, "concatenated_random": RandomPathsConv3d}
_FORMS = ("sampled", *PATHS)
_EARLIER_FORMS = ("all", "random")  # summed the paths of a slot before one norm


@dataclass(frozen=True)
class SuperNet(Operator):
    """What `op=supernet` says."""

    kernels: str | Sequence[str]
    """A named set, or a list of kernels."""
    where: str | Sequence[str]
    """The convolutions searched: encoder, all, or a list of names; the rest stay dense."""
    paths: str
    """sampled, concatenated or concatenated_random."""
    weights: str
    """shared or separate; only for `sampled`, paths side by side have weights of their own."""
    temperature: float
    """Divides the gates before the softmax of `sampled`: smaller is faster to decide."""
    unit: int = 1
    """Channels in a row that share one gate a kernel; only for `sampled`."""
    most_units: int | None = None
    """Of one convolution: where `unit` would make more, units are wider."""
    chances: Mapping[str, Sequence[float]] | None = None
    """By convolution, of each kernel to be drawn by `sampled`; None: gates are trained to say so."""

    def __post_init__(self) -> None:
        """Validate values."""
        vocabulary(self.kernels, "kernels")
        if self.paths in _EARLIER_FORMS:
            raise InputError(
                f"paths: got {self.paths!r}, a super-network of an earlier version that summed its paths; "
                f"search again, wanted one of {', '.join(_FORMS)}"
            )
        for name, known in (("paths", _FORMS), ("weights", CANDIDATES)):
            if getattr(self, name) not in known:
                raise InputError(f"{name}: got {getattr(self, name)!r}, wanted one of {', '.join(known)}")
        if self.temperature <= 0:
            raise InputError(f"temperature: got {self.temperature}, wanted more than 0")

    def bind(self, convolutions: Sequence[ConvSpec]) -> Operator:
        """With the searched convolutions by name.

        Raises:
            InputError: a name that is none of the network's convolutions.
        """
        names = [conv.name for conv in convolutions]
        if self.where == "all":
            return replace(self, where=names)
        if self.where == "encoder":
            return replace(self, where=[name for name in names if name.startswith("encoder")])
        wanted = [self.where] if isinstance(self.where, str) else list(self.where)
        unknown = [name for name in wanted if name not in names]
        if unknown or not wanted:
            raise InputError(f"where: got {unknown}, wanted encoder, all or names among {', '.join(names)}")
        return replace(self, where=wanted)

    def candidates(self, conv: ConvSpec) -> tuple[Kernel, ...]:
        """The kernels between which the slots of a convolution choose; none where it is not searched."""
        if conv.name not in self.where:
            return ()
        flat = (kernel.within(conv.kernel) for kernel in vocabulary(self.kernels, "kernels"))
        return tuple(dict.fromkeys(flat))

    def unit_of(self, conv: ConvSpec) -> int:
        """Channels of a convolution that share one gate a kernel."""
        if self.most_units is None:
            return self.unit
        widest = -(-conv.out_channels // self.most_units)
        return -(-widest // self.unit) * self.unit

    def build(self, conv: ConvSpec) -> nn.Module:
        """All candidates where searched, dense elsewhere."""
        kernels = self.candidates(conv)
        if not kernels:
            return Conv3d().build(conv)
        if self.paths in PATHS:
            return PATHS[self.paths](conv.in_channels, conv.out_channels, kernels, conv.stride)
        candidates = CANDIDATES[self.weights](conv.in_channels, conv.out_channels, kernels)
        module = SampledConv3d(
            *(candidates, conv.out_channels, conv.stride),
            temperature=self.temperature,
            unit=self.unit_of(conv),
        )
        if self.chances is not None:
            module.fix_chances(self.chances[conv.name])
        return module

    def width(self, conv: ConvSpec) -> int:
        """All paths where they stand side by side."""
        return conv.out_channels * (len(self.candidates(conv)) or 1 if self.paths in PATHS else 1)

    def complete(self, conv: ConvSpec) -> bool:
        """Paths side by side have norms and activations of their own."""
        return self.paths in PATHS and bool(self.candidates(conv))

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """The super-network's own, not what it will shrink to."""
        kernels = self.candidates(conv)
        if not kernels:
            return Conv3d().cost(conv, size)
        with torch.device("meta"):
            params = sum(weight.numel() for weight in self.build(conv).parameters())
        sizes = [Kernel(CANDIDATES["shared"](1, 1, kernels).cover)] if self.paths == "sampled" else kernels
        voxels = torch.Size(strided(size, conv.stride)).numel()
        taps = sum(kernel.taps for kernel in sizes)
        return Cost(params, conv.in_channels * conv.out_channels * taps * voxels)

    def describe(self) -> dict[str, Any]:
        """With lists where a description of data wants them."""
        described = super().describe()
        for name in ("kernels", "where"):
            value = described[name]
            described[name] = value if isinstance(value, str) else list(value)
        if self.chances is not None:
            described["chances"] = {name: list(values) for name, values in self.chances.items()}
        return described
