"""A convolution of a super-network: kernels its output channels choose between, and what they prefer."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from app.core.kernel import Kernel


class SearchedConv3d(nn.Module, ABC):
    """Output channels (slots) that will keep one of several kernels each; for every pair there is a gate."""

    gates: Tensor
    """(kernels, slots), or (kernels, units) where neighbouring slots share one."""

    def __init__(self, kernels: tuple[Kernel, ...], slots: int) -> None:
        super().__init__()
        self.kernels = kernels
        self.slots = slots

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, channels, D/s, H/s, W/s), rounded up."""

    @abstractmethod
    def scores(self) -> Tensor:
        """How much each (kernel, slot) matters, (kernels, slots), larger is more."""
