"""The image, reference and prediction of a held-out case, reoriented to canonical axes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from app.core import run_folder
from app.core.errors import InputError
from app.core.file_labels import FileLabels, recorded_labels
from app.core.types import as_size
from app.io import nifti
from app.io.faults import faults_named
from app.io.grid import Affine, reoriented_grid, reoriented_voxels
from app.io.several import numbered_files
from app.report.read.runs import Run

Voxels = NDArray[Any]
_CANONICAL = np.eye(4)


class NotDrawable(Exception):
    """A case cannot be drawn; the message gives the reason and is shown on the page."""


@dataclass(frozen=True)
class Scan:
    """The volumes of one case with axes (right, anterior, superior); spacing in mm in the same order."""

    image: Voxels
    reference: Voxels
    prediction: Voxels
    spacing: tuple[float, float, float]


def read_scan(run: Run, case: str) -> Scan:
    """Read the three volumes of a case.

    Raises:
        NotDrawable: a file is not named, does not exist, is not NIfTI, or the grids differ.
    """
    files = ((run.split or {}).get("files") or {}).get(case)
    if not isinstance(files, dict) or not {"image", "label"} <= files.keys():
        raise NotDrawable(f"{run_folder.SPLIT} has no paths of its image and label")
    image, affine = _read(Path(files["image"]))
    own, own_affine = _read(Path(files["label"]))
    reference = _merged(own, recorded_labels(run.split or {}, case), run)
    predicted, predicted_affine = _read(run_folder.prediction_path(run.folder, case))
    maps = {
        "label": reoriented_voxels(reference, own_affine, affine),
        "prediction": reoriented_voxels(predicted, predicted_affine, affine),
    }
    for name, volume in maps.items():
        if volume.shape != image.shape:
            raise NotDrawable(f"its {name} has {volume.shape} voxels, its image {image.shape}")
    _, canonical = reoriented_grid(as_size(image.shape), affine, _CANONICAL)
    turned = {name: reoriented_voxels(volume, affine, _CANONICAL) for name, volume in maps.items()}
    right, anterior, superior = np.linalg.norm(canonical[:3, :3], axis=0).tolist()
    return Scan(
        image=reoriented_voxels(image, affine, _CANONICAL),
        reference=turned["label"],
        prediction=turned["prediction"],
        spacing=(right, anterior, superior),
    )


def _merged(reference: Voxels, files: FileLabels | None, run: Run) -> Voxels:
    """Return label values as the run predicts them, if it merges values of the files."""
    if files is None:
        return reference
    values = run.predicted_values(1 + max(files.classes))
    merged = np.zeros(reference.shape, np.uint16)
    for value, found in zip(files.values, files.classes, strict=True):
        if found:
            merged[reference == value] = values[found]
    return merged


def _read(path: Path) -> tuple[Voxels, Affine]:
    """Return the voxels (i, j, k) of a file's first channel, and its affine to RAS millimetres."""
    path = next(iter(numbered_files(path)), path)
    if path.is_dir():
        raise NotDrawable(f"{path} is a folder, only NIfTI files are drawn")
    if not path.is_file():
        raise NotDrawable(f"{path} does not exist")
    try:
        affine = nifti.read_header(path).affine
        with faults_named(path, "NIfTI"):
            stored = nibabel.load(path).dataobj
            return np.asanyarray(stored[(..., *[0] * (len(stored.shape) - 3))]), affine
    except InputError as error:
        raise NotDrawable(str(error)) from error
