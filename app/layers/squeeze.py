"""What a channel gate sees of a feature map: numbers of each channel as a whole."""

import torch
from torch import Tensor, nn

SQUEEZES = {"mean": 1, "moments": 2}
"""Numbers per channel."""
_EPS = 1e-5  # of a variance: nothing has no logarithm


class Squeeze(nn.Module):
    """Maps (B, C, D, H, W) to (B, C * numbers, 1, 1, 1).

    `mean`, or `moments`: all means, then the logarithms of all standard deviations. As numbers of either sign
    these leave no hidden unit of a gate silent for every input, as deviations themselves would.

    The mean of a map that was standardised hardly depends on the input, so gates squeeze the output of a
    convolution before its norm.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.kind == "mean":
            return x.mean(dim=(2, 3, 4), keepdim=True)
        rows = x.permute(0, 2, 3, 4, 1).flatten(
            1, 3
        )  # (B, voxels, C): torch's variance takes 8 times as long
        mean = rows.mean(1, keepdim=True)
        deviation = ((rows - mean).square().mean(1, keepdim=True) + _EPS).log() / 2
        return torch.cat([mean, deviation], dim=1).flatten(1)[:, :, None, None, None]
