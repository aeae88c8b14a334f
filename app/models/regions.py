"""Networks that learn overlapping regions separately and predict labels.

In training every region has its own logit. For prediction, the probability of label v is that of being
inside v's regions and outside all others: log p(v) = sum over regions of log sigmoid(+-logit). Except for a
term that all labels share, this is the sum of the logits of v's regions. Label logits are therefore a fixed
linear map of region logits.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def without_labels(network: nn.Module) -> nn.Module:
    """Return the network whose outputs a loss is computed on: for regions, the one inside `RegionNetwork`."""
    inner: nn.Module = network.network if isinstance(network, RegionNetwork) else network
    return inner


class RegionNetwork(nn.Module):
    """A network that returns region logits (B, R, D, H, W) in training mode and label logits in eval mode.

    The labels are 0, 1, ... up to the largest label in a region; the background's logit is 0.
    """

    membership: Tensor

    def __init__(self, network: nn.Module, regions: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.network = network
        labels = 1 + max(value for region in regions for value in region)
        inside = [[float(value in region) for region in regions] for value in range(labels)]
        self.register_buffer("membership", torch.tensor(inside), persistent=False)

    def forward(self, x: Tensor) -> Any:
        """Map (B, C, D, H, W) to region logits (a list with deep supervision) or to label logits."""
        logits = self.network(x)
        if self.training:
            return logits
        return torch.einsum("lr,brdhw->bldhw", self.membership.to(logits.dtype), logits)
