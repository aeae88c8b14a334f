"""How much the channels of each kernel matter to a network in a race."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from app.core.layout import Layout
from app.train.state import TrainingState


class ChannelWorth:
    """The importance of the channels of each kernel: the squared change of the loss without the channel.

    The change is that of a first-order expansion around the parameters of the channel's norm, summed over
    steps (Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019).
    """

    def __init__(self, state: TrainingState, layout: Layout, paths: Mapping[str, str]) -> None:
        self._layout = layout
        self._norms: dict[str, nn.Module] = {}
        for name in layout.convolutions:
            parent, _, _ = paths[name].rpartition(".")
            block = state.network.get_submodule(parent)
            assert isinstance(block, nn.Sequential)
            self._norms[name] = block[1]
        self._sums = {name: torch.zeros(()) for name in self._norms}

    @torch.no_grad()
    def add(self) -> None:
        """Add the importance by the gradients of the last step."""
        for name, norm in self._norms.items():
            change = torch.zeros(())
            for parameter in norm.parameters():
                if parameter.grad is not None:
                    change = change + (parameter * parameter.grad).cpu().double()
            self._sums[name] = self._sums[name] + change.square()

    def found(self) -> dict[str, dict[str, float]]:
        """Return the mean over each kernel's channels, by convolution, relative to the convolution's mean."""
        found: dict[str, dict[str, float]] = {}
        for name, sums in self._sums.items():
            counts = self._layout.convolutions[name]
            if sums.dim() == 0 or not 0 < float(sums.sum()) < math.inf:
                continue
            parts = torch.split(sums / sums.mean(), list(counts.values()))
            found[name] = {str(k): float(part.mean()) for k, part in zip(counts, parts, strict=True)}
        return found
