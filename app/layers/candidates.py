"""Weights of a super-network's candidate kernels: one per kernel, or one dense weight that all share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from app.core.kernel import Kernel
from app.core.types import Size, as_size


class Candidates(nn.Module, ABC):
    """A base class of weights (out, in, *kernel.size) per kernel; `cover` is the smallest box around all."""

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        super().__init__()
        self.kernels = tuple(kernels)
        self.cover = cover_of(kernels)

    @abstractmethod
    def of(self, index: int) -> Tensor:
        """Return the weight of one kernel, (out, in, *size)."""

    @abstractmethod
    def merged(self, chosen: Tensor) -> Tensor:
        """Return the sum over kernels of `chosen` (kernels, out) times their weights, as (out, in, *cover).

        A convolution is linear in its weight, so one dense convolution computes the sum of all candidates.
        """


class SharedCandidates(Candidates):
    """A single weight (out, in, *cover) for all kernels; a kernel uses the part at its taps."""

    masks: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernels: Sequence[Kernel]) -> None:
        super().__init__(kernels)
        self.weight = _fresh_weight(in_channels, out_channels, self.cover)
        masks = torch.zeros(len(self.kernels), 1, *self.cover)  # five axes, as channels-last needs
        for mask, kernel in zip(masks, self.kernels, strict=True):
            mask[0][taps_in(kernel, self.cover)] = 1
        self.register_buffer("masks", masks, persistent=False)

    def of(self, index: int) -> Tensor:
        """Return a view of the shared weight at the kernel's taps."""
        depth, height, width = taps_in(self.kernels[index], self.cover)
        return self.weight[:, :, depth, height, width]

    def merged(self, chosen: Tensor) -> Tensor:
        """Return the weight with each tap scaled by the sum of `chosen` over kernels that have the tap."""
        return self.weight * torch.einsum("ko,kidhw->oidhw", chosen, self.masks)


class SeparateCandidates(Candidates):
    """A separate weight for each kernel."""

    def __init__(self, in_channels: int, out_channels: int, kernels: Sequence[Kernel]) -> None:
        super().__init__(kernels)
        self.weights = nn.ParameterList(
            _fresh_weight(in_channels, out_channels, kernel.size) for kernel in self.kernels
        )

    def of(self, index: int) -> Tensor:
        """Return the kernel's own weight."""
        weight: Tensor = self.weights[index]
        return weight

    def merged(self, chosen: Tensor) -> Tensor:
        """Return the scaled weights of all kernels, each placed at its taps, added up."""
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
    """Return the smallest box that holds the extent of every kernel."""
    return as_size([max(kernel.extent[axis] for kernel in kernels) for axis in range(3)])


def taps_in(kernel: Kernel, cover: Size) -> tuple[slice, slice, slice]:
    """Return the slices of a kernel's taps in a box in which it is centred."""
    depth, height, width = (
        slice((outer - inner) // 2, (outer + inner) // 2, kernel.dilation)
        for outer, inner in zip(cover, kernel.extent, strict=True)
    )
    return depth, height, width


def _fresh_weight(in_channels: int, out_channels: int, size: Size) -> nn.Parameter:
    """Return a new weight, drawn as torch draws that of a convolution."""
    return nn.Parameter(nn.Conv3d(in_channels, out_channels, size, bias=False).weight.detach())
