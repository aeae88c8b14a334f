"""All metrics of a prediction, for each target, in the scan's own geometry."""

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from app.core.types import Spacing
from app.metrics.lesions import match_lesions
from app.metrics.metric import METRICS, OF_PREDICTION, OF_TUBES, Mask
from app.metrics.overlap import IntegerMap, LabelGroups, VoxelCounts, boxes_of, overlaps
from app.metrics.score import Score
from app.metrics.surface import surface_distances
from app.metrics.tubes import centreline_dice

_COUNTED = ("dice", "iou", "sensitivity", "precision", "volume_error")
"""Metrics that are properties of `VoxelCounts`."""


def score_case(
    case: str,
    predicted: IntegerMap,
    reference: IntegerMap,
    *,
    spacing: Spacing,
    voxel_mm3: float,
    targets: LabelGroups,
    nsd_tolerance_mm: float,
    ignore: int | None = None,
    group: str | None = None,
    seen: IntegerMap | None = None,
    tubes: Collection[str] = (),
) -> list[Score]:
    """Return one score per target for label maps of one shape; `spacing` is in mm per axis.

    If only the reference has a target, it is missed: every metric gets its worst value, which for distances
    is the scan's diagonal. If the reference lacks it, only the false lesions and their volume have values.
    Voxels whose reference is `ignore` are skipped. `seen` is the part of the reference that the network saw.
    Targets in `tubes` also get the metrics of tubes.

    For speed, each target is compared only inside the box around it in both maps.
    """
    counts = overlaps(predicted, reference, targets, ignore)
    unseen = None if seen is None else _unseen(seen, counts, targets, ignore)
    if ignore is not None:
        known = reference != ignore
        predicted, reference = predicted * known, reference * known
    boxes = boxes_of(predicted, reference, targets)
    diagonal_mm = math.dist((0, 0, 0), [n * mm for n, mm in zip(reference.shape, spacing, strict=True)])
    scores = []
    for name, values in targets.items():
        count, box = counts[name], boxes[name]
        masks = None if box is None else (_mask(predicted[box], values), _mask(reference[box], values))
        found = _values(
            count,
            masks,
            spacing,
            tolerance_mm=nsd_tolerance_mm,
            diagonal_mm=diagonal_mm,
            voxel_mm3=voxel_mm3,
        )
        if name in tubes:
            found |= _of_tubes(count, masks)
        outside = None if unseen is None else unseen[name]
        volumes = count.predicted * voxel_mm3, count.reference * voxel_mm3
        scores.append(Score(case, name, found, *volumes, group, outside))
    return scores


def _values(
    count: VoxelCounts,
    masks: tuple[Mask, Mask] | None,
    spacing: Spacing,
    *,
    tolerance_mm: float,
    diagonal_mm: float,
    voxel_mm3: float,
) -> dict[str, float | None]:
    known: dict[str, float | None] = {metric.name: None for metric in METRICS if metric.name not in OF_TUBES}
    known |= dict.fromkeys(OF_PREDICTION, 0.0)
    if masks is None:
        return known
    lesions = match_lesions(*masks)
    known["lesion_false_positives"] = float(lesions.false_positives)
    known["false_positive_mm3"] = lesions.false_positive_voxels * voxel_mm3
    if not count.reference:
        return known
    known |= {name: getattr(count, name) for name in _COUNTED}
    known |= {"lesion_f1": lesions.f1, "lesion_sensitivity": lesions.sensitivity}
    known["panoptic_quality"] = lesions.panoptic_quality
    known["false_negative_mm3"] = lesions.false_negative_voxels * voxel_mm3
    if not count.predicted:
        return known | {"hd95_mm": diagonal_mm, "assd_mm": diagonal_mm, "nsd": 0.0}
    surfaces = surface_distances(*masks, spacing, tolerance_mm)
    return known | {name: getattr(surfaces, name) for name in ("hd95_mm", "assd_mm", "nsd")}


def _of_tubes(count: VoxelCounts, masks: tuple[Mask, Mask] | None) -> dict[str, float | None]:
    if masks is None or not count.reference:
        return {"cldice": None}
    return {"cldice": centreline_dice(*masks) if count.predicted else 0.0}


def _mask(labels: IntegerMap, values: tuple[int, ...]) -> Mask:
    """Return the mask of labels that are one of the values, padded by one voxel of background."""
    mask: NDArray[np.bool_] = labels == values[0] if len(values) == 1 else np.isin(labels, values)
    return np.pad(mask, 1)


def _unseen(
    seen: IntegerMap, counts: dict[str, VoxelCounts], targets: LabelGroups, ignore: int | None
) -> dict[str, int]:
    """Return the voxels of each target in the reference outside the part that the network saw."""
    inside = overlaps(seen, seen, targets, ignore)
    return {name: counts[name].reference - inside[name].reference for name in targets}
