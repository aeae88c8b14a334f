"""The interface of a super-network's convolution, in which kernels are searched per output channel."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from app.core.kernel import Kernel


class SearchedConv3d(nn.Module, ABC):
    """A convolution whose output channels (slots) will each keep one of several kernels.

    There is a gate for each pair of kernel and slot.
    """

    gates: Tensor
    """Gates (kernels, slots), or (kernels, units) if neighbouring slots share one."""

    def __init__(self, kernels: tuple[Kernel, ...], slots: int) -> None:
        super().__init__()
        self.kernels = kernels
        self.slots = slots

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, in, D, H, W) to (B, channels, D/s, H/s, W/s), sizes rounded up."""

    @abstractmethod
    def scores(self) -> Tensor:
        """Return the importance (kernels, slots) of each kernel in each slot; larger is more important."""
