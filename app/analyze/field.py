"""The receptive field of each channel of a feature map: input channels, and voxels along each axis."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from app.core.types import Size
from app.layers.connection import Connection, Links, channel_mix

Extents = NDArray[np.float64]


class _Space:
    """A set of channels that `ReceptiveFields.reach` counts; two fields are comparable if they share it."""


@dataclass(frozen=True)
class ReceptiveFields:
    """The receptive fields of a map's channels.

    Channel c sees channels `reach[c]`, and input voxels from `low[c]` to `high[c]` relative to its own
    position. One step along an axis of the map is `jump` input voxels. Directly after a transposed
    convolution, positions are those that both grids share; widths are exact for strides of 2 and kernels with
    a middle.
    """

    reach: Links
    """Which channels of the space each channel sees, (C, channels of the space)."""
    low: Extents
    """First input voxel along (D, H, W), relative to the channel's position, (C, 3)."""
    high: Extents
    """Last input voxel along (D, H, W), relative to the channel's position, (C, 3)."""
    jump: Extents
    """Input voxels per step of the map along (D, H, W), (3,)."""
    space: _Space = field(default_factory=_Space, compare=False)

    @property
    def size(self) -> Extents:
        """Number of input voxels along (D, H, W), (C, 3)."""
        return self.high - self.low + 1

    @property
    def channels(self) -> NDArray[np.int64]:
        """Number of channels that each channel sees, (C,)."""
        count: NDArray[np.int64] = self.reach.sum(axis=1)
        return count


def input_field(channels: int) -> ReceptiveFields:
    """Return the field of a network's input: every channel sees itself in its own voxel."""
    nothing = np.zeros((channels, 3))
    return ReceptiveFields(np.eye(channels, dtype=np.bool_), nothing, nothing, np.ones(3))


def through(seen: ReceptiveFields, connection: Connection) -> ReceptiveFields:
    """Return the field after a module with this connection."""
    links = connection.links
    low = np.where(links[:, :, None], seen.low, np.inf).min(axis=1) + seen.jump * connection.low
    high = np.where(links[:, :, None], seen.high, -np.inf).max(axis=1) + seen.jump * connection.high
    jump = seen.jump * np.array(connection.stride)
    return replace(seen, reach=(links @ seen.reach).astype(np.bool_), low=low, high=high, jump=jump)


def enlarged(seen: ReceptiveFields, channels: int, stride: Size) -> ReceptiveFields:
    """Return the field after a transposed convolution to `channels` whose kernel equals its stride."""
    mixed = through(seen, channel_mix(np.ones((channels, len(seen.low)), dtype=np.bool_)))
    return replace(mixed, jump=seen.jump / np.array(stride))


def concatenated(fields: Sequence[ReceptiveFields]) -> ReceptiveFields:
    """Return the field of maps concatenated along channels."""
    first = fields[0]
    if all(seen.space is first.space for seen in fields):
        reach, space = np.concatenate([seen.reach for seen in fields]), first.space
    else:
        reach, space = block_diag(*(seen.reach for seen in fields)), _Space()
    low, high = (np.concatenate([getattr(seen, name) for seen in fields]) for name in ("low", "high"))
    return ReceptiveFields(reach, low, high, first.jump, space)


def united(first: ReceptiveFields, second: ReceptiveFields) -> ReceptiveFields:
    """Return the field of the sum of two maps: everything that either sees."""
    assert first.space is second.space, "a sum within a stage"
    low, high = np.minimum(first.low, second.low), np.maximum(first.high, second.high)
    return replace(first, reach=first.reach | second.reach, low=low, high=high)


def narrowed(seen: ReceptiveFields, channels: slice) -> ReceptiveFields:
    """Return the field of some of the channels."""
    return replace(seen, reach=seen.reach[channels], low=seen.low[channels], high=seen.high[channels])


def entering(seen: ReceptiveFields) -> ReceptiveFields:
    """Return the field with the same voxels, in which channels are counted from this map on."""
    return replace(seen, reach=np.eye(len(seen.low), dtype=np.bool_), space=_Space())
