"""What each channel of a feature map sees of the input: channels, and voxels along each axis."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from app.core.types import Size
from app.layers.connection import Connection, Links, channel_mix

Extents = NDArray[np.float64]


class _Space:
    """The channels that `Field.reach` counts; two fields can be compared when theirs is the same."""


@dataclass(frozen=True)
class Field:
    """Channel c sees channels `reach[c]`, and input voxels from `low[c]` to `high[c]` about its own place.

    One step along an axis of the map is `jump` input voxels. Right after a transposed convolution, places
    are those that both grids have; widths are exact for strides of 2 and kernels with a middle.
    """

    reach: Links
    """(C, channels of the space)."""
    low: Extents
    """(C, 3)."""
    high: Extents
    """(C, 3)."""
    jump: Extents
    """(3,)."""
    space: _Space = field(default_factory=_Space, compare=False)

    @property
    def size(self) -> Extents:
        """Input voxels along (D, H, W), (C, 3)."""
        return self.high - self.low + 1

    @property
    def channels(self) -> NDArray[np.int64]:
        """How many channels each sees, (C,)."""
        count: NDArray[np.int64] = self.reach.sum(axis=1)
        return count


def input_field(channels: int) -> Field:
    """Of an input: every channel sees itself, in its own voxel."""
    nothing = np.zeros((channels, 3))
    return Field(np.eye(channels, dtype=np.bool_), nothing, nothing, np.ones(3))


def through(seen: Field, connection: Connection) -> Field:
    """After a module of this connection."""
    links = connection.links
    low = np.where(links[:, :, None], seen.low, np.inf).min(axis=1) + seen.jump * connection.low
    high = np.where(links[:, :, None], seen.high, -np.inf).max(axis=1) + seen.jump * connection.high
    jump = seen.jump * np.array(connection.stride)
    return replace(seen, reach=(links @ seen.reach).astype(np.bool_), low=low, high=high, jump=jump)


def enlarged(seen: Field, channels: int, stride: Size) -> Field:
    """After a transposed convolution of `channels` whose kernel is its stride: each voxel made many."""
    mixed = through(seen, channel_mix(np.ones((channels, len(seen.low)), dtype=np.bool_)))
    return replace(mixed, jump=seen.jump / np.array(stride))


def joined(fields: Sequence[Field]) -> Field:
    """Of maps with their channels one after another."""
    first = fields[0]
    if all(seen.space is first.space for seen in fields):
        reach, space = np.concatenate([seen.reach for seen in fields]), first.space
    else:
        reach, space = _block_diagonal([seen.reach for seen in fields]), _Space()
    low, high = (np.concatenate([getattr(seen, name) for seen in fields]) for name in ("low", "high"))
    return Field(reach, low, high, first.jump, space)


def united(first: Field, second: Field) -> Field:
    """Of the sum of two maps: whatever either sees."""
    assert first.space is second.space, "a sum within a stage"
    low, high = np.minimum(first.low, second.low), np.maximum(first.high, second.high)
    return replace(first, reach=first.reach | second.reach, low=low, high=high)


def narrowed(seen: Field, channels: slice) -> Field:
    """Of some of the channels."""
    return replace(seen, reach=seen.reach[channels], low=seen.low[channels], high=seen.high[channels])


def entering(seen: Field) -> Field:
    """The same voxels, channels counted from here on."""
    return replace(seen, reach=np.eye(len(seen.low), dtype=np.bool_), space=_Space())


def _block_diagonal(blocks: Sequence[Links]) -> Links:
    rows, columns = (sum(block.shape[axis] for block in blocks) for axis in (0, 1))
    whole = np.zeros((rows, columns), dtype=np.bool_)
    row = column = 0
    for block in blocks:
        whole[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return whole
