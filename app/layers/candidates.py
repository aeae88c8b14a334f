"""The weights of a super-network's candidates: one set a kernel, or one dense set that all kernels share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from app.core.kernel import Kernel
from app.core.types import Size, as_size


class Candidates(nn.Module, ABC):
    """Weights (out, in, *kernel.size) for each kernel; `cover` is the smallest box that holds them all."""

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        super().__init__()
        self.kernels = tuple(kernels)
        self.cover = cover_of(kernels)

    @abstractmethod
    def of(self, index: int) -> Tensor:
        """The weight of one kernel, (out, in, *size)."""

    @abstractmethod
    def merged(self, chosen: Tensor) -> Tensor:
        """The sum over kernels of `chosen` (kernels, out) times their weights, as one (out, in, *cover).

        A convolution is linear in its weight, so one dense convolution stands for all candidates.
        """


class SharedCandidates(Candidates):
    """One weight (out, in, *cover); a kernel is what its taps cut out of it."""

    masks: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernels: Sequence[Kernel]) -> None:
        super().__init__(kernels)
        self.weight = _fresh_weight(in_channels, out_channels, self.cover)
        masks = torch.zeros(len(self.kernels), 1, *self.cover)  # five axes, as channels-last asks of all
        for mask, kernel in zip(masks, self.kernels, strict=True):
            mask[0][taps_in(kernel, self.cover)] = 1
        self.register_buffer("masks", masks, persistent=False)

    def of(self, index: int) -> Tensor:
        """A view of the kernel's taps."""
        depth, height, width = taps_in(self.kernels[index], self.cover)
        return self.weight[:, :, depth, height, width]

    def merged(self, chosen: Tensor) -> Tensor:
        """The weight, each tap times the sum of the choices that have it."""
        return self.weight * torch.einsum("ko,kidhw->oidhw", chosen, self.masks)


class SeparateCandidates(Candidates):
    """A weight of its own for each kernel."""

    def __init__(self, in_channels: int, out_channels: int, kernels: Sequence[Kernel]) -> None:
        super().__init__(kernels)
        self.weights = nn.ParameterList(
            _fresh_weight(in_channels, out_channels, kernel.size) for kernel in self.kernels
        )

    def of(self, index: int) -> Tensor:
        """The kernel's own weight."""
        weight: Tensor = self.weights[index]
        return weight

    def merged(self, chosen: Tensor) -> Tensor:
        """Every weight at its taps' places, added up."""
        first: Tensor = self.weights[0]
        total = first.new_zeros((*first.shape[:2], *self.cover))
        for kernel, weight, share in zip(self.kernels, self.weights, chosen, strict=True):
            depth, height, width = taps_in(kernel, self.cover)
            total[:, :, depth, height, width] += share[:, None, None, None, None] * weight
        return total


CANDIDATES: dict[str, type[SharedCandidates] | type[SeparateCandidates]] = {
    "shared": SharedCandidates,
    "separate": SeparateCandidates,
}


def cover_of(kernels: Sequence[Kernel]) -> Size:
    """The smallest box that holds the extent of every kernel."""
    return as_size([max(kernel.extent[axis] for kernel in kernels) for axis in range(3)])


def taps_in(kernel: Kernel, cover: Size) -> tuple[slice, slice, slice]:
    """Where the taps of a kernel lie when it is centred in a box."""
    depth, height, width = (
        slice((outer - inner) // 2, (outer + inner) // 2, kernel.dilation)
        for outer, inner in zip(cover, kernel.extent, strict=True)
    )
    return depth, height, width


def _fresh_weight(in_channels: int, out_channels: int, size: Size) -> nn.Parameter:
    """Drawn as torch draws a convolution's."""
    return nn.Parameter(nn.Conv3d(in_channels, out_channels, size, bias=False).weight.detach())
