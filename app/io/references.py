"""Reference label maps of every kind on the grid of their scan."""

from collections.abc import Sequence
from pathlib import Path

from app.core.errors import InputError
from app.core.file_labels import FileLabels
from app.core.listed import listed
from app.core.types import as_size
from app.io.dicom import is_dicom_folder
from app.io.dicom_labels import holds_labels, read_classes
from app.io.label_values import as_classes
from app.io.volumes import LabelMap, Volume, read_label_map, turn_like


def find_label_map(path: Path) -> Path | None:
    """Return the label map that a file or folder is; None for a folder that holds none.

    A folder is one if it holds a single DICOM segmentation or structure set, at any depth, or a DICOM series.

    Raises:
        InputError: several segmentations or structure sets in a folder.
    """
    if path.is_file():
        return path
    held = [file for file in sorted(path.rglob("*")) if file.name[0] != "." and holds_labels(file)]
    if len(held) > 1:
        raise InputError(f"{path}: got {listed(file.name for file in held)}, wanted one file of labels")
    if held:
        return held[0]
    return path if is_dicom_folder(path) else None


def read_reference_map(
    path: Path,
    names: Sequence[str],
    values: Sequence[int],
    like: Volume | LabelMap,
    files: FileLabels | None = None,
) -> LabelMap:
    """Read a label map with its axes as those of `like`; DICOM labels, found by name, are drawn on its grid.

    Classes are the places of label values among `values`, and of names among `names`; with `files`, those
    that it has for the labels of files.

    Raises:
        InputError: as `read_label_map` or `read_classes`.
    """
    if files is not None:
        own = read_reference_map(path, files.names, files.values, like)
        return LabelMap(own.affine, as_classes(own.voxels, files.classes))
    if holds_labels(path):
        size = as_size(like.voxels.shape[-3:])
        return LabelMap(like.affine, read_classes(path, names, size, like.affine))
    return turn_like(read_label_map(path, values), like)
