"""The facts of one case that the rules need, from reading its files once.

Unlike preparing, examining does not stop at a faulty file; it reports the fault.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from app.core.digest import digest_of_bytes
from app.core.errors import InputError
from app.core.hidden import hide_words
from app.core.reading import Reading
from app.core.task import Case, Task
from app.data.prepare.geometry import Region
from app.data.sample.label_volumes import LesionSizes, find_lesions
from app.io.dicom_labels import holds_labels, read_classes
from app.io.grid import reoriented_voxels
from app.io.header import Header
from app.io.header_warnings import header_warnings
from app.io.label_values import LARGEST_VALUE, count_values, to_values, value_type
from app.io.volumes import load_labels, load_volume, read_header

_THUMBNAIL = 12  # voxels per side: coarse enough to average out noise, fine enough to tell two heads apart
_Facts = TypeVar("_Facts")


@dataclass(frozen=True)
class ChannelRange:
    """The range of the finite voxels of one channel, and the number of voxels that are not finite."""

    low: float
    high: float
    not_finite: int


@dataclass(frozen=True)
class ImageFacts:
    """The header, channels and content of a scan."""

    header: Header
    channels: tuple[ChannelRange, ...]
    digest: str
    nonzero: tuple[slice, slice, slice] | None
    """Bounding box (i, j, k) of all non-zero voxels; None if every voxel is zero."""
    thumbnail: NDArray[np.float32]
    """Thumbnail of the first channel, flat, with mean 0 and length 1; a dot product is a correlation."""


@dataclass(frozen=True)
class LabelFacts:
    """The header, voxel counts by value, and content of a label map."""

    header: Header
    values: dict[float, int]
    outside: dict[float, int]
    """Voxel counts by value, without 0, outside the bounding box of the scan's non-zero voxels."""
    lesions: tuple[LesionSizes, ...]
    """The lesions of values 1, 2, ... up to the largest; none if values are not whole."""
    digest: str


@dataclass(frozen=True)
class Examined:
    """The facts of a case; those of an unreadable file are None, and a text describes its fault."""

    case: Case
    image: ImageFacts | None
    image_fault: str
    label: LabelFacts | None
    label_fault: str
    header_warnings: dict[str, str]
    """Missing or contradictory facts of the scan's NIfTI header, as sentences by kind."""


def examine(case: Case, task: Task) -> Examined:
    """Read scan and label map once; return their facts and faults."""
    assert case.label is not None
    image, image_fault = _facts_or_fault(partial(_image_facts, reading=task.reading), case.image)
    label, label_fault = _facts_or_fault(partial(_label_facts, task=task, image=image), case.label)
    if case.hidden is not None:
        image_fault, label_fault = (
            hide_words(case.hidden.words, fault) for fault in (image_fault, label_fault)
        )
    found = {} if image is None else header_warnings(case.image, task.reading)
    return Examined(case, image, image_fault, label, label_fault, found)


def _facts_or_fault(read: Callable[[Path], _Facts], path: Path) -> tuple[_Facts | None, str]:
    try:
        return read(path), ""
    except InputError as error:
        return None, str(error)


def _image_facts(path: Path, reading: Reading) -> ImageFacts:
    header, volume = read_header(path, reading), load_volume(path, reading)
    digest = _digest(volume.voxels)
    channels = tuple(_channel(voxels) for voxels in volume.voxels)
    return ImageFacts(header, channels, digest, _nonzero(volume.voxels), _thumbnail(volume.voxels[0]))


def _label_facts(path: Path, task: Task, image: ImageFacts | None) -> LabelFacts:
    header, voxels = _labels(path, task, image)
    values = count_values(voxels)
    outside = (
        _outside(reoriented_voxels(voxels, header.affine, image.header.affine), values, image)
        if image
        else {}
    )
    lesions = _lesions(voxels, values)
    with np.errstate(over="ignore"):  # values out of range become infinite
        digest = _digest(voxels.astype(np.float32))
    return LabelFacts(header, values, outside, lesions, digest)


def _lesions(voxels: NDArray[np.generic], values: dict[float, int]) -> tuple[LesionSizes, ...]:
    if not all(value.is_integer() and 0 <= value <= LARGEST_VALUE for value in values):
        return ()
    return tuple(find_lesions(voxels.astype(value_type([0, *map(int, values)])), int(max(values, default=0))))


def _nonzero(voxels: NDArray[np.float32]) -> tuple[slice, slice, slice] | None:
    box = Region.around((voxels != 0).any(axis=0))
    if box is None:
        return None
    i, j, k = (slice(low, high) for low, high in zip(box.start, box.stop, strict=True))
    return i, j, k


def _outside(voxels: NDArray[np.generic], values: dict[float, int], image: ImageFacts) -> dict[float, int]:
    if image.nonzero is None or voxels.shape != image.header.size:
        return {}
    inside = count_values(voxels[image.nonzero])
    beyond = {value: count - inside.get(value, 0) for value, count in values.items() if value}
    return {value: count for value, count in beyond.items() if count}


def _labels(path: Path, task: Task, image: ImageFacts | None) -> tuple[Header, NDArray[np.generic]]:
    """Return the header and the voxels of a label map.

    DICOM labels take their header from the scan they were drawn on.

    Raises:
        InputError: the file is unreadable, or holds DICOM labels whose scan is unreadable.
    """
    if not holds_labels(path):
        return read_header(path), load_labels(path)[0]
    if image is None:
        raise InputError(f"{path}: needs its scan, which cannot be read")
    grid = image.header
    values, names = tuple(task.file_values), tuple(task.file_values.values())
    voxels = to_values(read_classes(path, names, grid.size, grid.affine), values)
    return replace(grid, channels=1, dtype=voxels.dtype), voxels


def _channel(voxels: NDArray[np.float32]) -> ChannelRange:
    finite = np.isfinite(voxels)
    if finite.all():
        return ChannelRange(float(voxels.min()), float(voxels.max()), 0)
    known = voxels[finite]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    return ChannelRange(low, high, int(voxels.size - known.size))


def _thumbnail(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    grid = torch.from_numpy(np.nan_to_num(voxels, nan=0.0, posinf=0.0, neginf=0.0))[None]
    small = F.adaptive_avg_pool3d(grid, _THUMBNAIL).double().flatten()
    centred = small - small.mean()
    return np.asarray((centred / centred.norm().clamp_min(1e-12)).float().numpy())


def _digest(voxels: NDArray[np.float32]) -> str:
    """Return a digest of shape and content, which does not depend on the file format."""
    return digest_of_bytes([repr(voxels.shape).encode(), np.ascontiguousarray(voxels).data])
