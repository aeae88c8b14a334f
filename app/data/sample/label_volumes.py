"""The volume of each label in each case, counted once."""

from collections.abc import Sequence
from typing import Any

from app.core.task import Case, Task
from app.data.prepare.cache import Cache
from app.io.label_values import count_values
from app.io.volumes import read_label_map

_FORMAT = 1  # raised whenever counting changes


def label_volumes(cache: Cache) -> dict[str, Sequence[float]]:
    """Return the volumes of label values 1, 2, ... in mm3, by case id.

    Raises:
        InputError: a label map cannot be read.
    """

    def make() -> dict[str, Any]:
        return dict(cache.over_cases("Counting labels", _volumes))

    return cache.remember("label_volumes", _FORMAT, make)


def _volumes(case: Case, task: Task) -> tuple[str, list[float]]:
    assert case.label is not None
    files = case.file_labels
    label_map = read_label_map(case.label, task.label_values if files is None else files.values)
    classes = range(len(task.labels)) if files is None else files.classes
    volumes = [0.0] * len(task.segmented)
    for value, count in count_values(label_map.voxels).items():
        if classes[int(value)] < len(volumes):
            volumes[classes[int(value)]] += label_map.voxel_mm3 * count
    return case.id, volumes[1:]
