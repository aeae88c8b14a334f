"""The super-network: every output channel (slot) of a convolution keeps one candidate and one gate a kernel.

Slot c of the output is always made of the candidates of slot c, so the next convolution finds the same
feature in the same place at every step. What differs is how the candidates of a slot are joined:

- `sampled`: one kernel a slot, or a unit of neighbouring slots, and step, drawn from the softmax of its gates
  (Gumbel straight-through); in eval mode the likeliest. All candidates cost one dense convolution.
- `all`: each candidate has its own norm, the gate is that norm's scale, all are added up: the cost-priority
  super-network of CAKES (Yu et al., AAAI 2021).
- `random`: as `all`, but at each step only as many of the (kernel, slot) paths as there are slots, drawn
  evenly; in eval mode those with the largest gates: its performance-priority super-network.
"""

from abc import ABC, abstractmethod
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
from app.layers.norm import normalise
from app.operators.operator import ConvSpec, Operator
from app.operators.plain import Conv3d
from app.operators.vocabulary import vocabulary

_FIRST_GATE = 0.5  # as far from dying as from ruling


class SuperConv3d(nn.Module, ABC):
    """(B, in, D, H, W) -> (B, slots, D/s, H/s, W/s), rounded up.

    `gates` is (kernels, units): each `unit` slots in a row have one gate a kernel.
    """

    def __init__(
        self, candidates: Candidates, slots: int, stride: Size, *, temperature: float, unit: int
    ) -> None:
        super().__init__()
        self.candidates = candidates
        self.slots = slots
        self.stride = stride
        self.temperature = temperature
        self.unit = unit
        self.gates = nn.Parameter(torch.full((len(candidates.kernels), -(-slots // unit)), _FIRST_GATE))

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The candidates of every slot, in the order of the gates' rows."""
        return self.candidates.kernels

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """See the class."""

    def of_slots(self, of_units: Tensor) -> Tensor:
        """(kernels, units) -> (kernels, slots)."""
        return of_units.repeat_interleave(self.unit, dim=1)[:, : self.slots]

    @abstractmethod
    def scores(self) -> Tensor:
        """How much each (kernel, slot) matters, (kernels, slots), larger is more."""

    @abstractmethod
    def keep(self, chosen: Tensor) -> None:
        """Leave one kernel a slot, `chosen` (slots,), the gates of the others dead at zero."""


class SampledConv3d(SuperConv3d):
    """One kernel a unit and step."""

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
        """Minus infinity is a gate whose chance is zero; a unit goes by its first slot."""
        alive = torch.full_like(self.gates, -torch.inf).scatter_(0, chosen[None, :: self.unit], 0.0)
        self.gates.data.copy_(alive)

    def _choice(self) -> Tensor:
        logits = self.gates / self.temperature
        if self.training:
            return self.of_slots(F.gumbel_softmax(logits, hard=True, dim=0))
        likeliest = logits.argmax(dim=0, keepdim=True)
        return self.of_slots(torch.zeros_like(logits).scatter_(0, likeliest, 1.0))


class AllPathsConv3d(SuperConv3d):
    """Every candidate with a norm of its own, whose scale is the gate, added up."""

    def forward(self, x: Tensor) -> Tensor:
        """As many convolutions as kernels."""
        gates = self.gates * self._active()
        paths = (self._path(x, index, gate) for index, gate in enumerate(gates))
        total = next(paths)
        for path in paths:
            total = total + path
        return total

    def scores(self) -> Tensor:
        """Absolute gates."""
        return self.gates.detach().abs()

    def keep(self, chosen: Tensor) -> None:
        """Zero gates."""
        alive = torch.zeros_like(self.gates).scatter_(0, chosen[None], 1.0)
        self.gates.data.mul_(alive)

    def _path(self, x: Tensor, index: int, gate: Tensor) -> Tensor:
        kernel = self.kernels[index]
        padding = as_size([voxels // 2 for voxels in kernel.extent])
        weight = self.candidates.of(index)
        path = conv3d(x, weight, stride=self.stride, padding=padding, dilation=as_size([kernel.dilation] * 3))
        return normalise(path, gate)

    def _active(self) -> Tensor:
        """1 for the paths that take part, (kernels, slots)."""
        return torch.ones_like(self.gates)


class RandomPathsConv3d(AllPathsConv3d):
    """At each step a random choice of as many paths as slots."""

    def _active(self) -> Tensor:
        count = self.gates.shape[1]
        drawn = torch.rand_like(self.gates) if self.training else self.scores()
        # Stable: ties never keep more than `count`.
        order = torch.argsort(drawn.flatten(), descending=True, stable=True)
        active = torch.zeros_like(drawn).flatten().index_fill_(0, order[:count], 1.0)
        return active.view_as(self.gates)


PATHS: dict[str, type[SampledConv3d] | type[AllPathsConv3d]] = {
    "sampled": SampledConv3d,
    "all": AllPathsConv3d,
    "random": RandomPathsConv3d,
}


@dataclass(frozen=True)
class SuperNet(Operator):
    """What `op=supernet` says."""

    kernels: str | Sequence[str]
    """A named set, or a list of kernels."""
    where: str | Sequence[str]
    """The convolutions searched: encoder, all, or a list of names; the rest stay dense."""
    paths: str
    """How the candidates of a slot are joined: sampled, all or random."""
    weights: str
    """shared or separate."""
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
        for name, known in (("paths", PATHS), ("weights", CANDIDATES)):
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
        candidates = CANDIDATES[self.weights](conv.in_channels, conv.out_channels, kernels)
        module = PATHS[self.paths](
            *(candidates, conv.out_channels, conv.stride),
            temperature=self.temperature,
            unit=self.unit_of(conv),
        )
        if self.chances is not None and isinstance(module, SampledConv3d):
            module.fix_chances(self.chances[conv.name])
        return module

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
