"""Which input channels and voxels one output channel of a module sees."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from app.core.types import Size

Links = NDArray[np.bool_]
Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class Connection:
    """Output channel o sees input channels `links[o]` at offsets from `low[o]` to `high[o]`.

    Offsets are input voxels along (D, H, W) from the voxel that the output voxel stands on.
    """

    links: Links
    """(out, in)."""
    low: Offsets
    """(out, 3)."""
    high: Offsets
    """(out, 3)."""
    stride: Size = (1, 1, 1)


@runtime_checkable
class Connected(Protocol):
    """A module that knows what it sees, because its computation does not show it."""

    def connections(self) -> list[Connection]:
        """One after another."""
        ...


def channel_mix(links: Links) -> Connection:
    """A mix of channels within the voxel."""
    nowhere = np.zeros((len(links), 3), dtype=np.int64)
    return Connection(links, nowhere, nowhere)


def grouped_links(in_channels: int, out_channels: int, groups: int) -> Links:
    """Every output channel of a group with every input channel of it."""
    return np.kron(
        np.eye(groups, dtype=np.bool_), np.ones((out_channels // groups, in_channels // groups), np.bool_)
    )
