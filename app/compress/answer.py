"""What a network answers to a batch of patches, and how far off it is with a part of it changed."""

import torch
from torch import Tensor, nn

from app.models.network import to_device


class Answer:
    """The answer of a network in eval mode to patches (B, C, D, H, W)."""

    @torch.no_grad()
    def __init__(self, network: nn.Module, patch: Tensor) -> None:
        self.network, self.patch = network, patch.contiguous(memory_format=torch.channels_last_3d)
        self.answer = network(self.patch)
        centred = self.answer - self.answer.mean(dim=(0, 2, 3, 4), keepdim=True)
        self.energy = float(centred.square().sum())

    @torch.no_grad()
    def error(self, path: str, module: nn.Module) -> float:
        """Return the share of the answer's energy that is lost with another module at a path."""
        before = self.network.get_submodule(path)
        self.network.set_submodule(path, to_device(module, torch.device("cpu")))
        lost = self.lost(self.network)
        self.network.set_submodule(path, before)
        return lost

    @torch.no_grad()
    def lost(self, network: nn.Module) -> float:
        """Return the share of the answer's energy by which another network is off."""
        return float((network(self.patch) - self.answer).square().sum()) / self.energy
