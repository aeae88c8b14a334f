"""Efficient channel attention: a gate for each channel from means around it (Wang et al., CVPR 2020)."""

import math

from torch import Tensor, nn

from app.layers.connection import Connection


class Eca(nn.Module):
    """Scales each channel of (B, C, D, H, W) by a sigmoid of the means of the channels around it."""

    def __init__(self, channels: int, kernel: int | None = None) -> None:
        super().__init__()
        taps = eca_kernel(channels) if kernel is None else kernel
        self.conv = nn.Conv1d(1, 1, taps, padding=taps // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        means = x.mean(dim=(2, 3, 4))  # (B, C)
        gate: Tensor = self.conv(means[:, None]).sigmoid()[:, 0]
        return x * gate[:, :, None, None, None]

    def connections(self) -> list[Connection]:
        """None: it scales what passes."""
        return []


def eca_kernel(channels: int) -> int:
    """Taps by the number of channels, gamma = 2 and b = 1 as published, rounded as the authors' code does."""
    taps = int(abs((math.log2(channels) + 1) / 2))
    return taps if taps % 2 else taps + 1
