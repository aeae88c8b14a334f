"""The volume of each label in each case, and its small lesions, counted once.

Lesions are the connected components of a label; voxels that touch by a corner belong to one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import ndimage

from app.core.task import Case, Task
from app.core.types import Labels, as_size
from app.data.prepare.cache import Cache
from app.data.prepare.geometry import Region, reoriented
from app.io.dicom_labels import holds_labels
from app.io.label_values import count_integers
from app.io.references import grid_of, read_reference_map
from app.io.volumes import LabelMap

_FORMAT = 2  # raised whenever counting changes
LISTED = 200  # most lesions listed per label and case
_TOUCHING = np.ones((3, 3, 3), dtype=np.int8)


@dataclass(frozen=True)
class LesionBox:
    """A lesion: its voxels, and its box in the array that it was found in."""

    voxels: int
    box: Region


@dataclass(frozen=True)
class LesionSizes:
    """The lesions of one label in one case."""

    count: int
    smallest: tuple[LesionBox, ...]
    """The smallest lesions, at most `LISTED`, in rising order of size."""

    def to_rows(self) -> list[Any]:
        """Return plain values for JSON."""
        return [self.count, [[each.voxels, *each.box.start, *each.box.stop] for each in self.smallest]]

    @classmethod
    def from_rows(cls, rows: Sequence[Any]) -> Self:
        """Return the lesions that `to_rows` gave these values for."""
        found = (LesionBox(row[0], Region(as_size(row[1:4]), as_size(row[4:7]))) for row in rows[1])
        return cls(rows[0], tuple(found))


@dataclass(frozen=True)
class CaseLabels:
    """The volumes and lesions of label values 1, 2, ... in one case."""

    volumes_mm3: Sequence[float]
    voxel_mm3: float
    lesions: tuple[LesionSizes, ...]
    """Lesions of each label; their boxes are (D, H, W) in the whole scan after reorientation."""


def label_volumes(cache: Cache) -> dict[str, Sequence[float]]:
    """Return the volumes of label values 1, 2, ... in mm3, by case id.

    Raises:
        InputError: a label map cannot be read.
    """
    return {case: labels["volumes_mm3"] for case, labels in _counted(cache).items()}


def case_labels(cache: Cache) -> dict[str, CaseLabels]:
    """Return the volumes and small lesions of each case by its id.

    Raises:
        InputError: a label map cannot be read.
    """
    return {
        case: CaseLabels(
            found["volumes_mm3"], found["voxel_mm3"], tuple(map(LesionSizes.from_rows, found["lesions"]))
        )
        for case, found in _counted(cache).items()
    }


def find_lesions(labels: Labels, count: int) -> list[LesionSizes]:
    """Return the lesions of label values 1 to `count` of a label map (..., three axes)."""
    boxes = [*ndimage.find_objects(labels, max_label=count)]
    found = [LesionSizes(0, ())] * count
    for index, box in enumerate(boxes):
        if box is None:
            continue
        joined, number = ndimage.label(labels[box] == index + 1, _TOUCHING)
        sizes = count_integers(joined, number + 1)[1:]
        places = ndimage.find_objects(joined)
        smallest = []
        for each in np.argsort(sizes, kind="stable")[:LISTED]:
            sides = list(zip(box, places[each], strict=True))
            start = as_size([whole.start + part.start for whole, part in sides])
            stop = as_size([whole.start + part.stop for whole, part in sides])
            smallest.append(LesionBox(int(sizes[each]), Region(start, stop)))
        found[index] = LesionSizes(number, tuple(smallest))
    return found


def _counted(cache: Cache) -> Mapping[str, dict[str, Any]]:
    def make() -> dict[str, Any]:
        return dict(cache.over_cases("Counting labels", _count))

    return cache.remember("label_volumes", _FORMAT, make)


def _count(case: Case, task: Task) -> tuple[str, dict[str, Any]]:
    label_map = _label_map(case, task)
    labels = label_map.voxels
    segmented, oriented = len(task.segmented), reoriented(labels[np.newaxis], label_map.affine)[0]
    return case.id, {
        "volumes_mm3": (count_integers(labels, segmented)[1:segmented] * label_map.voxel_mm3).tolist(),
        "voxel_mm3": label_map.voxel_mm3,
        "lesions": [each.to_rows() for each in find_lesions(oriented, segmented - 1)],
    }


def _label_map(case: Case, task: Task) -> LabelMap:
    """Read the reference of a case as classes; only DICOM labels need the grid of the scan."""
    assert case.label is not None
    grid = grid_of(case.image, task.reading) if holds_labels(case.label) else None
    return read_reference_map(case.label, task.labels, task.label_values, grid, case.file_labels)
