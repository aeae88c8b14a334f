"""Reference label maps of all formats, on the grid of their scan."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.core.errors import InputError
from app.core.file_labels import FileLabels
from app.core.listed import listed
from app.core.reading import Reading
from app.core.types import as_size
from app.io.dicom import is_dicom_folder
from app.io.dicom_labels import holds_labels, read_classes
from app.io.label_values import as_classes
from app.io.links import files_below
from app.io.volumes import LabelMap, Volume, read_header, read_label_map, reorient_like


def find_label_map(path: Path) -> Path | None:
    """Return the path of the label map at `path`: the file itself, or the one in a folder; None if none.

    A folder may hold a single DICOM segmentation or structure set, at any depth, or itself be a DICOM series.

    Raises:
        InputError: a folder holds several segmentations or structure sets.
    """
    if path.is_file():
        return path
    held = [file for file in files_below(path) if holds_labels(file)]
    if len(held) > 1:
        raise InputError(f"{path}: got {listed(file.name for file in held)}, wanted one file of labels")
    if held:
        return held[0]
    return path if is_dicom_folder(path) else None


def grid_of(image: Path, reading: Reading) -> LabelMap:
    """Return an empty label map on the grid of a scan, of which only the header is read.

    Raises:
        InputError: as in `read_header`.
    """
    header = read_header(image, reading)
    return LabelMap(header.affine, np.zeros(header.size, dtype=np.uint8))


def read_reference_map(
    path: Path,
    names: Sequence[str],
    values: Sequence[int],
    like: Volume | LabelMap | None,
    files: FileLabels | None = None,
) -> LabelMap:
    """Read a label map with its axes like those of `like`, or as they are for None.

    DICOM labels are drawn on the grid of `like`, which they need.

    The class of a voxel is the position of its label value in `values`, or of its DICOM label's name in
    `names`. If `files` is given, it defines values, names and classes instead.

    Raises:
        InputError: as in `read_label_map` or `read_classes`.
    """
    if files is not None:
        own = read_reference_map(path, files.names, files.values, like)
        return LabelMap(own.affine, as_classes(own.voxels, files.classes))
    if like is None:
        return read_label_map(path, values)
    if holds_labels(path):
        size = as_size(like.voxels.shape[-3:])
        return LabelMap(like.affine, read_classes(path, names, size, like.affine))
    return reorient_like(read_label_map(path, values), like)
