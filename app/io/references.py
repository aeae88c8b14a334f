"""Reference label maps of every kind on the grid of their scan."""

from collections.abc import Sequence
from pathlib import Path

from app.core.file_labels import FileLabels
from app.core.types import as_size
from app.io.dicom_labels import holds_labels, read_classes
from app.io.label_values import as_classes
from app.io.volumes import LabelMap, Volume, read_label_map, turn_like


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
