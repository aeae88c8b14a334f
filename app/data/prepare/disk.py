"""Disk space for prepared cases: the space needed, predicted from headers, against the space that is free."""

import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from app.core.errors import InputError
from app.core.plan import Plan
from app.core.task import Case, Task
from app.data.prepare.bricks import WHOLE
from app.data.prepare.foreground import INDEXED
from app.io.label_values import class_type
from app.io.volumes import read_header

log = logging.getLogger(__name__)

_HALF_BYTES, _FLOAT_BYTES = 2, 4
_ROW_BYTES = 16  # of a voxel in the index of foreground
_PADDING = 1.05  # allowance for bricks that are larger than the scan they hold


def make_room(folder: Path, cases: Sequence[Case], plan: Plan, task: Task, *, share: float = 1.0) -> None:
    """Log the disk space that preparing the cases takes.

    It is an upper bound, or an estimate if only a `share` below 1 of each scan is kept.

    Raises:
        InputError: the disk has less free space.
    """
    if not cases:
        return
    wanted = share * sum(prepared_bytes(case, plan, task) for case in cases)
    free = shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.is_dir())).free
    regions = "" if share == 1 else f" of their regions, about {100 * share:.0f} % of a scan,"
    takes = f"preparing {len(cases)} cases{regions} takes up to {wanted / 1e9:.2f} GB"
    log.info("%s in %s, which has %.2f GB free", takes, folder, free / 1e9)
    if wanted > free:
        raise InputError(
            f"paths.cache: {folder}: got {free / 1e9:.2f} GB free, {takes}; "
            "set paths.cache to another disk, or free some: python run.py mode=cache"
        )


def prepared_bytes(case: Case, plan: Plan, task: Task) -> int:
    """Return a bound on the bytes of a prepared case; 0 for an unreadable header, which preparing reports."""
    try:
        header = read_header(case.image, task.reading)
    except InputError:
        return 0
    voxels = math.prod(header.size) * math.prod(header.spacing) / math.prod(plan.spacing)
    bounded = all(how.scheme == "ct" for how in plan.normalisation)  # clipped values fit half precision
    large = voxels > WHOLE**3  # a smaller image may be stored in single precision
    image = header.channels * (_HALF_BYTES if bounded and large else _FLOAT_BYTES)
    classes = len(task.labels)
    index = _ROW_BYTES * min(voxels, INDEXED * (classes - 1))
    return round(_PADDING * voxels * (image + class_type(classes).itemsize) + index)
