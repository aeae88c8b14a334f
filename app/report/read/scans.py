"""The image, reference and prediction of a held-out case, reoriented to canonical axes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from app.core import run_folder
from app.core.file_labels import FileLabels, recorded_labels
from app.io.several import numbered_files
from app.report.read.runs import Run

Voxels = NDArray[Any]


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
    image, spacing = _canonical(Path(files["image"]))
    reference, _ = _canonical(Path(files["label"]))
    reference = _merged(reference, recorded_labels(run.split or {}, case), run)
    prediction, _ = _canonical(run_folder.prediction_path(run.folder, case))
    for name, volume in (("label", reference), ("prediction", prediction)):
        if volume.shape != image.shape:
            raise NotDrawable(f"its {name} has {volume.shape} voxels, its image {image.shape}")
    return Scan(image, reference, prediction, spacing)


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


def _canonical(path: Path) -> tuple[Voxels, tuple[float, float, float]]:
    path = next(iter(numbered_files(path)), path)
    if path.is_dir():
        raise NotDrawable(f"{path} is a folder, only NIfTI files are drawn")
    if not path.is_file():
        raise NotDrawable(f"{path} does not exist")
    try:
        volume = nibabel.load(path)
        while len(volume.shape) > 3:
            volume = volume.slicer[..., 0]
        turned = nibabel.as_closest_canonical(volume)
        voxels = np.asanyarray(turned.dataobj)
    except (ImageFileError, OSError, EOFError, ValueError, AttributeError) as error:
        raise NotDrawable(f"{path} cannot be read as NIfTI ({error})") from error
    right, anterior, superior = (float(size) for size in turned.header.get_zooms()[:3])
    return voxels, (right, anterior, superior)
