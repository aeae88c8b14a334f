"""Efficient channel attention: a gate per channel, from neighbouring channels (Wang et al., CVPR 2020)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from app.core.errors import InputError
from app.layers.connection import Connection
from app.layers.squeeze import SQUEEZES, Squeeze


@dataclass(frozen=True)
class EcaSettings:
    """The values of `op.eca`; the defaults are the published ones."""

    kernel: Any = None
    """Channels that a gate sees: one number, one per level from the finest, or None for the formula."""
    gamma: float = 2
    """Divisor in the formula |log2(channels) / gamma + b / gamma|, whose result is made odd."""
    b: float = 1
    """Summand in the formula."""
    least: int = 1
    """Smallest number of channels from the formula."""
    circular: bool = False
    """Whether the first channel is a neighbour of the last; if not, zeros are beyond both ends."""
    squeeze: str = "mean"
    """mean, as published, or moments (mean and deviation, each with its own weights)."""

    def __post_init__(self) -> None:
        """Validate values."""
        kernels = self.kernel if isinstance(self.kernel, Sequence) else [self.kernel]
        for taps in (*kernels, self.least):
            if taps is not None and (taps < 1 or taps % 2 == 0):
                raise InputError(f"op.eca: got {taps} channels, wanted an odd number")
        if self.gamma <= 0:
            raise InputError(f"op.eca.gamma: got {self.gamma}, wanted above 0")
        if self.squeeze not in SQUEEZES:
            raise InputError(f"op.eca.squeeze: got {self.squeeze!r}, wanted one of {', '.join(SQUEEZES)}")

    def taps(self, channels: int) -> int:
        """Return the number of channels that a gate sees by the formula, rounded as in the authors' code."""
        taps = int(abs((math.log2(channels) + self.b) / self.gamma))
        return max(self.least, taps if taps % 2 else taps + 1)


PUBLISHED = EcaSettings()


class Eca(nn.Module):
    """A gate that scales each channel of (B, C, D, H, W) by a sigmoid of nearby channels of `source`."""

    def __init__(self, channels: int, kernel: int | None = None, settings: EcaSettings = PUBLISHED) -> None:
        super().__init__()
        taps = settings.taps(channels) if kernel is None else kernel
        self.squeeze, self.seen = Squeeze(settings.squeeze), SQUEEZES[settings.squeeze]
        self.conv = nn.Conv1d(
            self.seen,
            1,
            taps,
            padding=taps // 2,
            padding_mode="circular" if settings.circular else "zeros",
            bias=False,
        )

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Return `x`, scaled; `source` is (B, C, any size)."""
        seen = self.squeeze(source).unflatten(1, (self.seen, -1)).flatten(2)  # (B, numbers, C)
        gate: Tensor = self.conv(seen).sigmoid()[:, 0]
        return x * gate[:, :, None, None, None]

    def connections(self) -> list[Connection]:
        """Return no connections: a gate only scales its input."""
        return []
