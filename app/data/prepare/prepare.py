"""Preparing one case: from its files to the arrays a network trains on."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.machine import memory_bytes
from app.core.plan import Plan
from app.core.task import Case, Task
from app.core.types import Labels, by
from app.data.prepare.case_errors import naming
from app.data.prepare.geometry import (
    Geometry,
    Region,
    forward_image,
    forward_labels,
    network_view,
    plan_geometry,
)
from app.data.prepare.intensity import find_scaling
from app.io.references import read_reference_map
from app.io.volumes import LabelMap, Volume, check_same_grid, read_volume

GROWTH = 1000
"""Voxels on the network's grid per voxel of a scan, above which its spacing is not in millimetres.

Slices of 20 mm with pixels of 5 mm become 500 times as many voxels of 1 mm.
"""
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Prepared:
    """An image (C, D, H, W) and its labels (D, H, W) on the network's grid, and the way back."""

    image: NDArray[np.float32]
    labels: Labels | None
    geometry: Geometry
    source: Volume | None = None
    """The scan itself if only a region of it was prepared, because the region may have to grow."""
    empty: bool = False
    """Whether every channel of the scan is constant."""


def prepare(volume: Volume, label_map: LabelMap | None, plan: Plan, region: Region | None = None) -> Prepared:
    """Reorient a scan, crop it to `region` or else to non-zero voxels, normalise and resample it.

    `app.infer.scan.restore` is the way back. Intensities are normalised on the scan's own grid, because
    resampling leaves hardly any background voxel exactly zero, and with statistics of the whole scan even if
    there is a region.

    Raises:
        InputError: on the network's grid, the scan takes more than this machine's memory, or has more than
            `GROWTH` times as many voxels.
    """
    geometry = plan_geometry(volume.voxels, volume.affine, plan.spacing, region)
    _refuse_too_large(geometry, plan, channels=len(volume.voxels))
    whole = geometry if region is None else plan_geometry(volume.voxels, volume.affine, plan.spacing)
    own = network_view(volume.voxels, whole)
    scalings = [find_scaling(channel, how) for channel, how in zip(own, plan.normalisation, strict=True)]
    image = forward_image(volume.voxels, geometry, scalings)
    labels = forward_labels(label_map.voxels, geometry) if label_map is not None else None
    empty = all(channel.min() == channel.max() for channel in volume.voxels)
    return Prepared(image, labels, geometry, empty=empty)


def _refuse_too_large(geometry: Geometry, plan: Plan, *, channels: int) -> None:
    """Raise InputError if the scan takes too much memory on the network's grid, or grows too much."""
    needed = _FLOAT_BYTES * channels * math.prod(geometry.resampled)
    if needed > memory_bytes():
        why = f"need {needed / 1e9:.0f} GB of memory, this machine has {memory_bytes() / 1e9:.0f} GB"
    elif math.prod(geometry.resampled) > GROWTH * math.prod(geometry.cropped):
        why = f"are more than {GROWTH} times as many"
    else:
        return
    own, grid = (" x ".join(f"{mm:.4g}" for mm in each) for each in (geometry.spacing, plan.spacing))
    raise InputError(
        f"{by(geometry.cropped)} voxels of {own} mm (D x H x W) are {by(geometry.resampled)} voxels on "
        f"the network's grid of {grid} mm and {why}; check that the lengths in the header are millimetres"
    )


def read_case(case: Case, task: Task) -> tuple[Volume, LabelMap]:
    """Read and check a labelled case; return its scan and its reference.

    Raises:
        InputError: a file is unreadable, the scan does not have the task's channels, or scan and reference do
            not have the same geometry.
    """
    assert case.label is not None
    with naming(case):
        volume = read_volume(case.image, task.reading)
        label_map = read_reference_map(case.label, task.labels, task.label_values, volume, case.file_labels)
        check_channels(volume, task.modalities, str(case.image))
        check_same_grid(label_map, volume, case.label, case.image)
    return volume, label_map


def check_channels(volume: Volume, modalities: tuple[str, ...], where: str) -> None:
    """Raise InputError unless the scan has one channel per modality."""
    if volume.voxels.shape[0] != len(modalities):
        wanted = f"{len(modalities)} ({', '.join(modalities)})"
        raise InputError(f"{where}: got {volume.voxels.shape[0]} channels, wanted {wanted}")
