"""The Dice that a grid allows: that of a reference resampled onto the grid and back, with itself.

A network trained on the grid cannot do better, because it learns and predicts labels on the grid only.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from app.core.digest import digest_of
from app.core.slices import interleaved_spacing
from app.core.task import Case, Task
from app.core.types import Labels, Spacing
from app.data.prepare.cache import Cache
from app.data.prepare.geometry import forward_labels, plan_geometry
from app.data.prepare.prepare import read_case
from app.data.prepare.region import labelled_crop

_CASES = 8  # cases sampled; their mean was within 0.01 of that over all cases, in each of five data sets
_FORMAT = 2  # raised whenever the computation changes
_AROUND = 2  # voxels of the coarser grid kept around a label, so that it can grow


def read_ceilings(cache: Cache, grids: Sequence[Spacing]) -> list[tuple[float | None, ...]]:
    """Return for each grid the mean Dice of label values 1, 2, ... over a sample of the cases.

    It is None for a label that no case of the sample has. Results are cached per content and grids.

    Raises:
        InputError: a case cannot be used.
    """
    name = f"ceilings-{digest_of(grids)[:8]}"

    def make() -> dict[str, list[list[float | None]]]:
        found = cache.over_cases("Trying grids", partial(_case_ceilings, grids=grids), most=_CASES)
        return {"dice": [_means([case[index] for case in found]) for index in range(len(grids))]}

    return [tuple(labels) for labels in cache.remember(name, _FORMAT, make)["dice"]]


def _case_ceilings(case: Case, task: Task, grids: Sequence[Spacing]) -> list[list[float | None]]:
    volume, label_map = read_case(case, task)
    crop = labelled_crop(volume, label_map, ignore=task.ignore)
    geometry = plan_geometry(volume.voxels, volume.affine, None, crop)
    labels = forward_labels(label_map.voxels, geometry)
    boxes = ndimage.find_objects(labels, max_label=len(task.foreground))
    return [
        [
            None if box is None else kept(labels, value, box, _factors(geometry.spacing, grid))
            for value, box in enumerate(boxes, start=1)
        ]
        for grid in grids
    ]


def kept(labels: Labels, value: int, box: tuple[slice, ...], factors: tuple[float, ...]) -> float:
    """Return the Dice of one label with itself, resampled to `factors` times longer voxels and back.

    `labels` is (D, H, W) and `box` holds all of the label.
    """
    around = tuple(
        slice(max(0, side.start - int(_AROUND * factor + 1)), side.stop + int(_AROUND * factor + 1))
        for side, factor in zip(box, factors, strict=True)
    )
    mask = torch.from_numpy((labels[around] == value).astype(np.float32))[None, None]
    size = [max(1, round(voxels / factor)) for voxels, factor in zip(mask.shape[2:], factors, strict=True)]
    coarse = (F.interpolate(mask, size=size, mode="trilinear", align_corners=False) > 0.5).float()
    back = F.interpolate(coarse, size=mask.shape[2:], mode="trilinear", align_corners=False) > 0.5
    both = float((back * mask).sum())
    return 2 * both / float(back.sum() + mask.sum())


def _factors(own: Spacing, grid: Spacing) -> tuple[float, ...]:
    """Return how much longer voxels of the grid are; slices of a scan in stacks are not joined."""
    return tuple(wanted / mm for wanted, mm in zip(interleaved_spacing(grid, own), own, strict=True))


def _means(by_case: Sequence[Sequence[float | None]]) -> list[float | None]:
    found = []
    for label in zip(*by_case, strict=True):
        values = [value for value in label if value is not None]
        found.append(float(np.mean(values)) if values else None)
    return found
