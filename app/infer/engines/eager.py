"""The default engine: PyTorch runs the network operation by operation."""

import torch
from torch import Tensor, nn

from app.infer.engines.engine import Engine, Member
from app.layers.device_policy import autocast, laid_out
from app.models.network import to_device
from app.operators.merging import use_recorded


class EagerEngine:
    """An engine that runs a network in eval mode, on the device of its weights, in `precision`."""

    def __init__(self, network: nn.Module, precision: torch.dtype = torch.float32) -> None:
        self._network = network.eval()
        self.precision = precision
        self.device = next((weights.device for weights in network.parameters()), torch.device("cpu"))

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the logits (B, L, D, H, W) of windows (B, C, D, H, W)."""
        placed = laid_out(windows.to(self.device))
        with torch.inference_mode(), autocast(self.device, self.precision):
            logits = self._network(placed)
        assert isinstance(logits, Tensor), "a network in eval mode returns one tensor"
        return logits.float()


def eager_engine(member: Member, device: torch.device, precision: torch.dtype = torch.float32) -> Engine:
    """Return an engine that runs the network on a device."""
    network = to_device(member.checkpoint.trained_network(), device)
    use_recorded(network, member.run, device)
    return EagerEngine(network, precision)
