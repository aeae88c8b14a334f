"""The grid of a series: its slices ordered by position, and their affine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.listed import listed
from app.io.dicom_files import Frame

_SAME_DIRECTION = 1e-4  # difference of cosines; larger than the rounding error of six decimals
_MISSING, _DOUBLED = 1.5, 0.02  # gap between slices, as a share of the usual one
_NAMED = 3  # most files in a message
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_ROUNDED = 0.01  # share of the slice distance; larger deviations are reported as uneven slices


@dataclass(frozen=True)
class Stack:
    """A series of slices ordered by position, with the affine from (i, j, k) to RAS mm.

    `uneven` is the largest distance of a slice from an even grid, as a share of the slice distance.
    """

    frames: tuple[Frame, ...]
    affine: NDArray[np.float64]
    uneven: float


@np.errstate(all="ignore")
def stack(where: Path, frames: Sequence[Frame]) -> Stack:
    """Order slices along their normal and fit an even grid; a tilted gantry gives a sheared affine.

    Raises:
        InputError: slices differ in size, direction or spacing, two have one position, there is a gap, a
            single slice has no thickness, or positions are not finite.
    """
    _refuse_odd(where, frames)
    first = frames[0]
    rows, columns = np.array(first.axes[:3]), np.array(first.axes[3:])
    normal = np.cross(rows, columns)
    ordered = sorted(frames, key=lambda frame: float(normal @ frame.position))
    step, origin, uneven = _line(where, ordered, normal)
    affine = np.eye(4)
    for axis, vector in enumerate((rows * first.spacing[0], columns * first.spacing[1], step)):
        affine[:3, axis] = vector * _LPS_TO_RAS
    affine[:3, 3] = origin * _LPS_TO_RAS
    if not (np.isfinite(affine).all() and np.isfinite(uneven)):
        raise InputError(
            f"{where}: the positions, directions or distances of its slices are not finite; is it damaged?"
        )
    return Stack(tuple(ordered), affine, uneven)


def is_uneven(share: float) -> bool:
    """Return whether a deviation from an even grid, as a share of the slice distance, exceeds rounding."""
    return share > _ROUNDED


def uneven_sentence(share: float) -> str:
    """Return a sentence on how far slices lie off an even grid."""
    return f"slice positions deviate by up to {share:.2g} of a slice distance from even spacing"


def _refuse_odd(where: Path, frames: Sequence[Frame]) -> None:
    """Refuse slices whose size, direction or spacing differs from that of the largest group."""
    groups: list[list[Frame]] = []
    for frame in frames:
        for group in groups:
            if not _difference(group[0], frame):
                group.append(frame)
                break
        else:
            groups.append([frame])
    if len(groups) == 1:
        return
    most = max(groups, key=len)
    odd = [frame for group in groups if group is not most for frame in group]
    named = listed((frame.name for frame in odd), _NAMED)
    raise InputError(
        f"{where}: {named}: got another {_difference(odd[0], most[0])} than the other {len(most)} slices; is "
        "it a localizer or another series? Move it out of the folder"
    )


def _difference(one: Frame, other: Frame) -> str:
    if one.size != other.size:
        return "size"
    if not np.allclose(one.axes, other.axes, atol=_SAME_DIRECTION):
        return "direction"
    return "" if np.allclose(one.spacing, other.spacing, rtol=1e-3) else "pixel spacing"


def _line(
    where: Path, frames: Sequence[Frame], normal: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Fit an even grid to the slice positions.

    Return the step between slices and the corner of the first slice, both in LPS mm, and the largest
    deviation of a slice from the grid as a share of the step.
    """
    positions = np.array([frame.position for frame in frames])
    if len(frames) == 1:
        thickness = frames[0].thickness_mm
        if thickness is None:
            raise InputError(
                f"{where}: got one slice without SliceThickness, so the size of its voxels is unknown; "
                "add the other slices, or set SliceThickness (0018,0050) in the file"
            )
        return normal * thickness, positions[0], 0.0
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    doubled = np.flatnonzero(gaps <= _DOUBLED * max(usual, 1e-6))
    if doubled.size:
        pairs = ", ".join(f"{frames[n].name} and {frames[n + 1].name}" for n in doubled[:_NAMED])
        raise InputError(
            f"{where}: got {len(frames)} slices at {len(frames) - doubled.size} positions: {pairs} are at "
            "one position; remove the copies, or separate the volumes (times, echoes) into folders"
        )
    wide, usual = int(gaps.argmax()), float(np.sort(gaps)[(len(gaps) - 1) // 2])  # half of them may be wide
    if gaps[wide] > _MISSING * usual:
        raise InputError(
            f"{where}: got {gaps[wide]:.3g} mm between slices {wide + 1} and {wide + 2} ({frames[wide].name} "
            f"and {frames[wide + 1].name}) and {usual:.3g} mm elsewhere; is a slice missing, or are there "
            "two volumes?"
        )
    numbers = np.arange(len(frames)) - (len(frames) - 1) / 2
    step = numbers @ positions / float(numbers @ numbers)
    even = positions.mean(axis=0) + numbers[:, None] * step
    uneven = float(np.linalg.norm(positions - even, axis=1).max() / np.linalg.norm(step))
    return step, even[0], uneven
