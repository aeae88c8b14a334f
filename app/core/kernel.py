"""A convolution kernel: taps along (D, H, W) and dilation, written `1x3x3` or `3x3x3d2`."""

import math
import re
from dataclasses import dataclass
from typing import Self

from app.core.errors import InputError
from app.core.types import Size, as_size

_TEXT = re.compile(r"([1-9]\d?)x([1-9]\d?)x([1-9]\d?)(?:d([2-9]))?")


@dataclass(frozen=True, order=True)
class Kernel:
    """A convolution kernel with odd numbers of taps along (D, H, W), which are `dilation` voxels apart."""

    size: Size
    dilation: int = 1

    def __str__(self) -> str:
        taps = "x".join(str(taps) for taps in self.size)
        return taps if self.dilation == 1 else f"{taps}d{self.dilation}"

    @classmethod
    def parse(cls, text: str, where: str = "kernel") -> Self:
        """Read a kernel from the text that `str` gives; `where` begins the error message.

        Raises:
            InputError: the text is not three odd numbers joined by x, or the dilation is not 2 to 9.
        """
        match = _TEXT.fullmatch(text)
        if match is None or any(int(taps) % 2 == 0 for taps in match.groups()[:3]):
            raise InputError(
                f"{where}: got {text!r}, wanted three odd numbers like 1x3x3, or 3x3x3d2 dilated"
            )
        return cls(as_size([int(taps) for taps in match.groups()[:3]]), int(match.group(4) or 1))

    @property
    def taps(self) -> int:
        """Weights per pair of input and output channel."""
        return math.prod(self.size)

    @property
    def extent(self) -> Size:
        """Voxels from the first tap to the last along (D, H, W), both included."""
        return as_size([(taps - 1) * self.dilation + 1 for taps in self.size])

    def within(self, most: Size) -> "Kernel":
        """Return the kernel with one tap along axes on which `most` is 1: the data are too coarse there."""
        size = as_size([taps if limit > 1 else 1 for taps, limit in zip(self.size, most, strict=True)])
        return Kernel(size, 1 if size == (1, 1, 1) else self.dilation)
