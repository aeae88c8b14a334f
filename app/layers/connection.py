"""Connections: the input channels and voxels that each output channel of a module sees."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from app.core.types import Size

Links = NDArray[np.bool_]
Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class Connection:
    """The connections of a module: output channel o sees channels `links[o]` from `low[o]` to `high[o]`.

    Offsets are input voxels along (D, H, W), relative to the voxel at the position of the output voxel.
    """

    links: Links
    """Which input channels each output channel sees, (out, in)."""
    low: Offsets
    """Lowest offsets, (out, 3)."""
    high: Offsets
    """Highest offsets, (out, 3)."""
    stride: Size = (1, 1, 1)


@runtime_checkable
class Connected(Protocol):
    """A module that states its connections, because they cannot be derived from its submodules."""

    def connections(self) -> list[Connection]:
        """Return the module's connections in the order of computation."""
        ...


def channel_mix(links: Links) -> Connection:
    """Return the connections of a module that mixes channels within each voxel."""
    nowhere = np.zeros((len(links), 3), dtype=np.int64)
    return Connection(links, nowhere, nowhere)


def grouped_links(in_channels: int, out_channels: int, groups: int) -> Links:
    """Return the links (out, in) of a grouped convolution: all channels within a group are linked."""
    return np.kron(
        np.eye(groups, dtype=np.bool_), np.ones((out_channels // groups, in_channels // groups), np.bool_)
    )
