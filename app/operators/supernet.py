"""The super-network of a kernel search: each output channel (slot) of a convolution chooses a kernel.

- `sampled`: every slot has one candidate and one gate per kernel. At each step one kernel is drawn for each
  slot, or for a unit of neighbouring slots, from the softmax of its gates (Gumbel straight-through); in eval
  mode the most probable kernel is used. Slot c of the output always comes from the candidates of slot c, so
  the next convolution finds the same feature in the same channel. All candidates together cost one dense
  convolution.
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
from app.core.nested import as_lists
from app.core.types import Size, as_size
from app.layers.candidates import CANDIDATES, Candidates
from app.layers.convolution import conv3d
from app.layers.cost import Cost, strided
from app.operators.operator import ConvSpec, Operator
from app.operators.paths import PathsConv3d, RandomPathsConv3d
from app.operators.plain import Conv3d
from app.operators.searched import SearchedConv3d
from app.operators.vocabulary import vocabulary

_FIRST_GATE = 0.5  # equal for all kernels


class SampledConv3d(SearchedConv3d):
    """A searched convolution that draws one kernel per unit of slots at each step.

    It maps (B, in, D, H, W) to (B, slots, D/s, H/s, W/s), sizes rounded up. `gates` is (kernels, units): each
    `unit` consecutive slots share one gate per kernel.
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
        """Draw kernels with these fixed probabilities in every unit; the gates are no longer trained."""
        gates = self.temperature * torch.log(torch.tensor(chances))
        self.gates.data.copy_(gates[:, None].expand_as(self.gates))
        self.gates.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, in, D, H, W) densely with the taps of the chosen kernels."""
        padding = as_size([voxels // 2 for voxels in self.candidates.cover])
        return conv3d(x, self.candidates.merged(self._choice()), stride=self.stride, padding=padding)

    def scores(self) -> Tensor:
        """Return the log probabilities (kernels, slots)."""
        return self.of_slots(F.log_softmax(self.gates.detach() / self.temperature, dim=0))

    def probabilities(self) -> Tensor:
        """Return the probability of each kernel in each slot, (kernels, slots), differentiable."""
        return self.of_slots(F.softmax(self.gates / self.temperature, dim=0))

    def keep(self, chosen: Tensor) -> None:
        """Keep one kernel per slot, `chosen` (slots,), and disable the others.

        Their gates become minus infinity, which is probability 0. For a unit, its first slot decides.
        """
        alive = torch.full_like(self.gates, -torch.inf).scatter_(0, chosen[None, :: self.unit], 0.0)
        self.gates.data.copy_(alive)

    def of_slots(self, of_units: Tensor) -> Tensor:
        """Return values (kernels, units) repeated to (kernels, slots)."""
        return of_units.repeat_interleave(self.unit, dim=1)[:, : self.slots]

    def _choice(self) -> Tensor:
        logits = self.gates / self.temperature
        if self.training:
            return self.of_slots(F.gumbel_softmax(logits, hard=True, dim=0))
        likeliest = logits.argmax(dim=0, keepdim=True)
        return self.of_slots(torch.zeros_like(logits).scatter_(0, likeliest, 1.0))


PATHS: dict[str, type[PathsConv3d]] = {"concatenated": PathsConv3d, "concatenated_random": RandomPathsConv3d}
_FORMS = ("sampled", *PATHS)
_EARLIER_FORMS = ("all", "random")  # of older versions, which summed the paths of a slot before one norm


@dataclass(frozen=True)
class SuperNet(Operator):
    """The settings of `op=supernet`."""

    kernels: str | Sequence[str]
    """Name of a kernel set, or a list of kernels."""
    where: str | Sequence[str]
    """The searched convolutions: encoder, all, or a list of names; the others are dense."""
    paths: str
    """Form of the super-network: sampled, concatenated or concatenated_random."""
    weights: str
    """Weights of the candidates for `sampled`: shared or separate. In the other forms they are separate."""
    temperature: float
    """Divisor of the gates before the softmax of `sampled`; with smaller values a search decides faster."""
    unit: int = 1
    """Number of consecutive channels that share one gate per kernel; only for `sampled`."""
    most_units: int | None = None
    """Largest number of units per convolution; if `unit` would give more, units are made wider."""
    chances: Mapping[str, Sequence[float]] | None = None
    """Fixed probabilities of the kernels per convolution for `sampled`; None: the gates are trained."""

    def __post_init__(self) -> None:
        """Validate values."""
        vocabulary(self.kernels, "kernels")
        if self.paths in _EARLIER_FORMS:
            raise InputError(
                f"paths: got {self.paths!r}, which earlier versions used; "
                f"search again, wanted one of {', '.join(_FORMS)}"
            )
        for name, known in (("paths", _FORMS), ("weights", CANDIDATES)):
            if getattr(self, name) not in known:
                raise InputError(f"{name}: got {getattr(self, name)!r}, wanted one of {', '.join(known)}")
        if self.temperature <= 0:
            raise InputError(f"temperature: got {self.temperature}, wanted more than 0")

    def bind(self, convolutions: Sequence[ConvSpec]) -> Operator:
        """Return the operator with the names of the searched convolutions as `where`.

        Raises:
            InputError: a name is not that of a convolution of the network.
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
        """Return the kernels that the slots of a convolution choose from; none if it is not searched."""
        if conv.name not in self.where:
            return ()
        flat = (kernel.within(conv.kernel) for kernel in vocabulary(self.kernels, "kernels"))
        return tuple(dict.fromkeys(flat))

    def unit_of(self, conv: ConvSpec) -> int:
        """Return the number of channels of a convolution that share one gate per kernel."""
        if self.most_units is None:
            return self.unit
        widest = -(-conv.out_channels // self.most_units)
        return -(-widest // self.unit) * self.unit

    def build(self, conv: ConvSpec) -> nn.Module:
        """Build a convolution with all candidates if it is searched, else a dense one."""
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
        """Return the number of output channels: that of all paths if paths are concatenated."""
        return conv.out_channels * (len(self.candidates(conv)) or 1 if self.paths in PATHS else 1)

    def complete(self, conv: ConvSpec) -> bool:
        """Return whether the module includes norm and activation: concatenated paths do."""
        return self.paths in PATHS and bool(self.candidates(conv))

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost of the super-network itself, not of the network it will be reduced to."""
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
        """Return the description, with sequences as lists."""
        described: dict[str, Any] = as_lists(super().describe())
        return described
