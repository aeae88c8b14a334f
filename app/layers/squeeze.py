"""Squeezing for channel gates: each channel of a feature map is reduced to one or two numbers."""

import torch
from torch import Tensor, nn

SQUEEZES = {"mean": 1, "moments": 2}
"""Numbers per channel."""
_EPS = 1e-5  # added to a variance, as log(0) is infinite


class Squeeze(nn.Module):
    """A map from (B, C, D, H, W) to (B, C * numbers, 1, 1, 1).

    `mean` gives the mean of each channel. `moments` gives all means, then the logarithms of all standard
    deviations. The logarithms can have either sign; positive deviations could keep hidden units of a gate at
    zero for every input.

    The mean of a normalised map hardly depends on the input, so gates squeeze the output of a convolution
    before its norm.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze (B, C, D, H, W) to (B, C * numbers, 1, 1, 1)."""
        if self.kind == "mean":
            return x.mean(dim=(2, 3, 4), keepdim=True)
        rows = x.permute(0, 2, 3, 4, 1).flatten(1, 3)  # (B, voxels, C); torch.var would take 8 times as long
        mean = rows.mean(1, keepdim=True)
        deviation = ((rows - mean).square().mean(1, keepdim=True) + _EPS).log() / 2
        return torch.cat([mean, deviation], dim=1).flatten(1)[:, :, None, None, None]
