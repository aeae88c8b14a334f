"""torch itself, operation after operation."""

import torch
from torch import Tensor, nn

from app.infer.engines.engine import Engine, Member
from app.layers.memory_layout import laid_out
from app.models.network import to_device


class EagerEngine:
    """A network in eval mode where its weights are."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network.eval()
        self._device = next((weights.device for weights in network.parameters()), torch.device("cpu"))

    def __call__(self, windows: Tensor) -> Tensor:
        """(B, C, D, H, W) -> logits (B, L, D, H, W)."""
        placed = laid_out(windows.to(self._device))
        with torch.inference_mode():
            logits = self._network(placed)
        assert isinstance(logits, Tensor), "a network in eval mode returns one tensor"
        return logits


def eager_engine(member: Member, device: torch.device) -> Engine:
    """The network on a device."""
    return EagerEngine(to_device(member.checkpoint.trained_network(), device))
