"""Scans and label maps of a data set, edited on disk, and what the check finds in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from app.core.task import Task
from app.data.doctor.check import Checked, check_task
from app.data.sets.decathlon import read_task

Voxels = NDArray[np.float32]
TURN = np.array([[0, -1], [2, 1], [1, 1]])  # of the axes, as nibabel writes it
IMAGE = "imagesTr/blob_002.nii.gz"
LABEL = "labelsTr/blob_002.nii.gz"


def check(folder: Path) -> tuple[Task, Checked]:
    task = read_task(folder)
    return task, check_task(task, None, workers=2)


def kinds(checked: Checked, case: str = "blob_002") -> set[str]:
    return {finding.kind for finding in checked.findings.get(case, ())}


def change(path: Path, edit: Callable[[Voxels], Any], dtype: type = np.float32, **header: Any) -> None:
    """Store edited voxels, and header fields, under the same name."""
    image = nib.load(path)
    changed = nib.Nifti1Image(
        np.asarray(edit(np.asarray(image.get_fdata(), np.float32)), dtype), image.affine
    )
    for field, value in header.items():
        changed.header[field] = value
    nib.save(changed, path)


def set_voxel(value: float) -> Callable[[Voxels], Voxels]:
    def edit(voxels: Voxels) -> Voxels:
        voxels[3, 4, 5] = value
        return voxels

    return edit


def move(path: Path, affine: NDArray[np.float64]) -> None:
    nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj), affine), path)


def shifted(mm: float) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[2, 3] = mm
    return affine
