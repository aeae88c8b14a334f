"""Regions that overlap, learnt one by one, read as label values.

In training every region has its own logit. In use, a label value v is as likely as its regions inside and
all others outside: log p(v) = sum over regions of log sigmoid(+-logit) = sum of the logits of v's regions,
but for a term that all values share. So logits of label values are a fixed linear map of the regions'.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def without_labels(network: nn.Module) -> nn.Module:
    """The network whose logits are those a loss is for, in use as in training."""
    inner: nn.Module = network.network if isinstance(network, RegionNetwork) else network
    return inner


class RegionNetwork(nn.Module):
    """In training the logits of regions (B, R, D, H, W), as the network gives them; in use those of labels.

    The labels are 0, 1, ... up to the largest value in a region, background having logit 0.
    """

    membership: Tensor

    def __init__(self, network: nn.Module, regions: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.network = network
        labels = 1 + max(value for region in regions for value in region)
        inside = [[float(value in region) for region in regions] for value in range(labels)]
        self.register_buffer("membership", torch.tensor(inside), persistent=False)

    def forward(self, x: Tensor) -> Any:
        """(B, C, D, H, W) -> region logits, a list of them with deep supervision, or label logits."""
        logits = self.network(x)
        if self.training:
            return logits
        return torch.einsum("lr,brdhw->bldhw", self.membership.to(logits.dtype), logits)
