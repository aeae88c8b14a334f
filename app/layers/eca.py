"""Efficient channel attention: a gate per channel from the channels around it (Wang et al., CVPR 2020)."""

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
    """The values of `op.eca`; those not given are the published ones."""

    kernel: Any = None
    """Channels that a gate looks at: one number, one per level from the finest, or None: by the formula."""
    gamma: float = 2
    """Divisor in the formula |log2(channels) / gamma + b / gamma|, rounded up to an odd number."""
    b: float = 1
    """Likewise."""
    least: int = 1
    """The formula gives no fewer."""
    circular: bool = False
    """Whether the first channel is next to the last; else zeros lie beyond both."""
    squeeze: str = "mean"
    """mean, as published, or moments: mean and deviation, with a weight for each."""

    def __post_init__(self) -> None:
        """Validate values."""
        for taps in self.kernel if isinstance(self.kernel, Sequence) else [self.kernel, self.least]:
            if taps is not None and (taps < 1 or taps % 2 == 0):
                raise InputError(f"op.eca: got {taps} channels, wanted an odd number")
        if self.gamma <= 0:
            raise InputError(f"op.eca.gamma: got {self.gamma}, wanted above 0")
        if self.squeeze not in SQUEEZES:
            raise InputError(f"op.eca.squeeze: got {self.squeeze!r}, wanted one of {', '.join(SQUEEZES)}")

    def taps(self, channels: int) -> int:
        """Channels that a gate looks at by the formula, rounded as the authors' code does."""
        taps = int(abs((math.log2(channels) + self.b) / self.gamma))
        return max(self.least, taps if taps % 2 else taps + 1)


PUBLISHED = EcaSettings()


class Eca(nn.Module):
    """Scales each channel of (B, C, D, H, W) by a sigmoid of the channels around it in `source`."""

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
        """Shape of `x`; `source` is (B, C, any size)."""
        seen = self.squeeze(source).unflatten(1, (self.seen, -1)).flatten(2)  # (B, numbers, C)
        gate: Tensor = self.conv(seen).sigmoid()[:, 0]
        return x * gate[:, :, None, None, None]

    def connections(self) -> list[Connection]:
        """None: it scales what passes."""
        return []
