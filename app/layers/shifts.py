"""Shifts of channels within the volume, and shuffles of channels."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from app.core.types import Size
from app.layers.connection import Connection, channel_mix


def zero_shift(x: Tensor, offsets: Sequence[Size], turn: int = 0) -> Tensor:
    """Shift an equal block of channels (B, C, D, H, W) by each offset: output voxel p is input p + offset.

    Voxels from outside the volume are zero. Remaining channels are not shifted. Channels are first rotated by
    `turn` to the left; both are done in one copy.
    """
    count = x.shape[1]
    shifted = torch.zeros_like(x)
    rest = slice(_each(count, offsets) * len(offsets), count)
    for channels, offset in (*_blocks(count, offsets), (rest, (0, 0, 0))):
        target, source = zip(*map(_overlap, offset), strict=True)
        for to, of in _turned(channels, turn, count):
            shifted[:, to, *target] = x[:, of, *source]
    return shifted


def address_shift(x: Tensor, offsets: Sequence[Size], turn: int = 0) -> Tensor:
    """Shift like `zero_shift`, but by one step in the flat memory (C, D, H, W) of each sample.

    This is what reading from a moved pointer gives: a row continues in the next row, and a channel in the
    next channel. Values beyond the ends of the sample are zero.
    """
    if turn:
        x = torch.cat([x[:, turn:], x[:, :turn]], dim=1)
    batch, count, depth, height, width = x.shape  # no int(): sizes stay dynamic in ONNX
    flat = x.movedim(1, 4).reshape(batch, -1, count)
    shifted = flat.clone()
    for channels, offset in _blocks(count, offsets):
        step = offset[0] * height * width + offset[1] * width + offset[2]
        inside, vacated = (
            (slice(None, -step), slice(-step, None)) if step > 0 else (slice(-step, None), slice(-step))
        )
        moved, entering = (
            (slice(step, None), slice(step)) if step > 0 else (slice(None, step), slice(step, None))
        )
        shifted[:, inside, channels] = flat[:, moved, channels]
        shifted[:, vacated, channels] = _neighbours(flat[:, entering], channels, 1 if step > 0 else -1)
    return shifted.reshape(batch, depth, height, width, count).movedim(4, 1)


SHIFTS = {"zero": zero_shift, "address": address_shift}


class AddressShift(nn.Module):
    """A layer that rotates channels by `turn` to the left, then shifts an equal share of them by each offset.

    The rotation is the channel shift by half a group: output channel c is input channel c + C / (2 groups).
    """

    def __init__(self, channels: int, offsets: Sequence[Size], mode: str, turn: int = 0) -> None:
        super().__init__()
        self.channels, self.offsets, self.mode, self.turn = channels, tuple(offsets), mode, turn

    def forward(self, x: Tensor) -> Tensor:
        """Rotate and shift (B, C, D, H, W)."""
        return SHIFTS[self.mode](x, self.offsets, self.turn)

    def connections(self) -> list[Connection]:
        """Return the connections: each channel with its source channel, at the shift's offset."""
        moved = np.zeros((self.channels, 3), dtype=np.int64)
        for channels, offset in _blocks(self.channels, self.offsets):
            moved[channels] = offset
        return [Connection(np.roll(np.eye(self.channels, dtype=np.bool_), self.turn, axis=1), moved, moved)]


class ChannelShuffle(nn.Module):
    """A layer that interleaves the halves of the channels: 0, h, 1, h + 1, ... (h = C / 2, rounded up)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = -(-channels // 2)
        places = [place for first in range(half) for place in (first, first + half) if place < channels]
        self.sources = tuple(places)
        self.register_buffer("order", torch.tensor(places), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Reorder the channels of (B, C, D, H, W)."""
        return x.movedim(1, 4).index_select(4, self.get_buffer("order")).movedim(4, 1)

    def connections(self) -> list[Connection]:
        """Return the connections: each channel with its source channel."""
        return [channel_mix(np.eye(len(self.sources), dtype=np.bool_)[list(self.sources)])]


def directions(kernel: Size) -> list[Size]:
    """Return offsets of one voxel in both directions along each axis with several taps, last axis first."""
    axes = [axis for axis in (2, 1, 0) if kernel[axis] > 1]
    steps = np.eye(3, dtype=int)
    return [(int(d), int(h), int(w)) for axis in axes for d, h, w in (steps[axis], -steps[axis])]


def _blocks(channels: int, offsets: Sequence[Size]) -> list[tuple[slice, Size]]:
    each = _each(channels, offsets)
    return [(slice(index * each, (index + 1) * each), offset) for index, offset in enumerate(offsets)]


def _turned(channels: slice, turn: int, count: int) -> list[tuple[slice, slice]]:
    """Return slices of output channels and of their input channels, cut where the rotation wraps around."""
    edge = min(max(count - turn, channels.start), channels.stop)
    pieces = [(slice(channels.start, edge), turn), (slice(edge, channels.stop), turn - count)]
    return [(to, slice(to.start + by, to.stop + by)) for to, by in pieces if to.start < to.stop]


def _overlap(step: int) -> tuple[slice, slice]:
    """Return slices of output p and input p + step along an axis, for all p for which both exist."""
    if step == 0:
        return slice(None), slice(None)
    return (slice(None, -step), slice(step, None)) if step > 0 else (slice(-step, None), slice(None, step))


def _neighbours(rows: Tensor, channels: slice, step: int) -> Tensor:
    """Return the channels `step` after the given ones in (B, V, C); zero beyond the first and the last."""
    first, last = channels.start + step, channels.stop + step
    inside = rows[..., max(first, 0) : last]
    return nn.functional.pad(inside, (max(-first, 0), max(last - rows.shape[-1], 0)))


def _each(channels: int, offsets: Sequence[Size]) -> int:
    return channels // max(1, len(offsets))
