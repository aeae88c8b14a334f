"""The output of a network for a batch of patches, and the error of a changed network."""

import torch
from torch import Tensor, nn

from app.models.network import to_device


class Answer:
    """The output of a network in eval mode for patches (B, C, D, H, W)."""

    @torch.no_grad()
    def __init__(self, network: nn.Module, patch: Tensor) -> None:
        self.network, self.patch = network, patch.contiguous(memory_format=torch.channels_last_3d)
        self.answer = network(self.patch)
        centred = self.answer - self.answer.mean(dim=(0, 2, 3, 4), keepdim=True)
        self.energy = float(centred.square().sum())

    @torch.no_grad()
    def error(self, path: str, module: nn.Module) -> float:
        """Return the share of the output's energy that is lost if the module at a path is replaced."""
        before = self.network.get_submodule(path)
        self.network.set_submodule(path, to_device(module, torch.device("cpu")))
        lost = self.lost(self.network)
        self.network.set_submodule(path, before)
        return lost

    @torch.no_grad()
    def lost(self, network: nn.Module) -> float:
        """Return the error of another network's output as a share of the output's energy."""
        return float((network(self.patch) - self.answer).square().sum()) / self.energy
