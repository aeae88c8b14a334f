"""The shifts themselves: of channels' addresses within the volume, and of channels among each other."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from app.core.types import Size
from app.layers.connection import Connection, channel_mix


def zero_shift(x: Tensor, offsets: Sequence[Size], turn: int = 0) -> Tensor:
    """An equal block of channels (B, C, D, H, W) for each offset: output voxel p is input voxel p + offset.

    Zero where that lies outside; channels left over stay where they are. Channels are first rotated by `turn`
    to the left, within the same copy.
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
    """The same by one constant step in the flat memory (C, D, H, W) of each sample, as a moved pointer reads.

    So rows continue in the next row, and a channel's end in the next channel; zero at the ends of the sample.
    """
    if turn:
        x = torch.cat([x[:, turn:], x[:, :turn]], dim=1)
    batch, count, depth, height, width = x.shape  # their products, not int(): an ONNX file keeps them free
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
    """Rotates channels by `turn` to the left, then shifts an equal share of them by each offset.

    The rotation is the channel shift, by half a group: output channel c is input channel c + C / (2 groups).
    """

    def __init__(self, channels: int, offsets: Sequence[Size], mode: str, turn: int = 0) -> None:
        super().__init__()
        self.channels, self.offsets, self.mode, self.turn = channels, tuple(offsets), mode, turn

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return SHIFTS[self.mode](x, self.offsets, self.turn)

    def connections(self) -> list[Connection]:
        """Each channel with the one it comes from, a voxel away."""
        moved = np.zeros((self.channels, 3), dtype=np.int64)
        for channels, offset in _blocks(self.channels, self.offsets):
            moved[channels] = offset
        return [Connection(np.roll(np.eye(self.channels, dtype=np.bool_), self.turn, axis=1), moved, moved)]


class ChannelShuffle(nn.Module):
    """Interleaves the halves of (B, C, D, H, W): output channels are 0, h, 1, h + 1, ..., h = C / 2, up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = -(-channels // 2)
        places = [place for first in range(half) for place in (first, first + half) if place < channels]
        self.sources = tuple(places)
        self.register_buffer("order", torch.tensor(places), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return x.movedim(1, 4).index_select(4, self.get_buffer("order")).movedim(4, 1)

    def connections(self) -> list[Connection]:
        """Each channel with the one it comes from."""
        return [channel_mix(np.eye(len(self.sources), dtype=np.bool_)[list(self.sources)])]


def directions(kernel: Size) -> list[Size]:
    """One voxel forth and back along each axis that the kernel may extend over, the last axis first."""
    axes = [axis for axis in (2, 1, 0) if kernel[axis] > 1]
    steps = np.eye(3, dtype=int)
    return [(int(d), int(h), int(w)) for axis in axes for d, h, w in (steps[axis], -steps[axis])]


def _blocks(channels: int, offsets: Sequence[Size]) -> list[tuple[slice, Size]]:
    each = _each(channels, offsets)
    return [(slice(index * each, (index + 1) * each), offset) for index, offset in enumerate(offsets)]


def _turned(channels: slice, turn: int, count: int) -> list[tuple[slice, slice]]:
    """Output channels and the input channels they come from, cut where the rotation goes round."""
    edge = min(max(count - turn, channels.start), channels.stop)
    pieces = [(slice(channels.start, edge), turn), (slice(edge, channels.stop), turn - count)]
    return [(to, slice(to.start + by, to.stop + by)) for to, by in pieces if to.start < to.stop]


def _overlap(step: int) -> tuple[slice, slice]:
    """Where along an axis output p and input p + step both exist."""
    if step == 0:
        return slice(None), slice(None)
    return (slice(None, -step), slice(step, None)) if step > 0 else (slice(-step, None), slice(None, step))


def _neighbours(rows: Tensor, channels: slice, step: int) -> Tensor:
    """Those channels' neighbours (B, V, C) a step on; zero beyond the first and the last."""
    first, last = channels.start + step, channels.stop + step
    inside = rows[..., max(first, 0) : last]
    return nn.functional.pad(inside, (max(-first, 0), max(last - rows.shape[-1], 0)))


def _each(channels: int, offsets: Sequence[Size]) -> int:
    return channels // max(1, len(offsets))
