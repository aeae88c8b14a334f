"""Warnings of labels and lesions that cannot be learnt: in no training case, or too small for the grid."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.core.listed import listed
from app.core.plan import Plan
from app.core.task import Task
from app.core.types import as_size
from app.data.prepare.bricks import Bricks
from app.data.prepare.cached_case import CachedCase
from app.data.prepare.geometry import Geometry, forward_labels, on_the_grid, plan_geometry
from app.data.prepare.parallel import spread
from app.data.prepare.prepare import read_case
from app.data.prepare.region import labelled_crop
from app.data.sample.label_volumes import CaseLabels, LesionBox
from app.data.sample.split import Split
from app.io.label_values import count_values

log = logging.getLogger(__name__)
_SMALL = 8  # voxels of the planned grid; a smaller label or lesion may vanish completely
_STRAY = 2e-3  # smaller parts, as a share of the label's volume in a case, are strays of the annotation
_LOOKED_AT = 20  # cases whose small lesions are looked for before preparing, which takes a few seconds each

Volumes = Mapping[str, Sequence[float]]
"""Volume in mm3 of label values 1, 2, ... by case id."""


def warn_of_absent(task: Task, split: Split, volumes: Volumes) -> None:
    """Warn of labels that no training case has, and name the held-out cases that have them."""
    for index, name in enumerate(task.foreground):
        having = [case for case in volumes if volumes[case][index] > 0]
        trains = [case.id for case in split.training if volumes[case.id][index] > 0]
        if trains:
            continue
        if having:
            log.warning(
                "label %s (%d) is in none of %d training cases but in others, held out (%s): it cannot "
                "be learnt; choose another fold, split.stratify=true or fold=none",
                *(name, index + 1, len(split.training), listed(having)),
            )
        else:
            log.warning(
                "label %s (%d) is in none of %d cases: it cannot be learnt; take it out of dataset.json, or "
                "add cases that show it",
                *(name, index + 1, len(volumes)),
            )


def warn_of_vanished(
    task: Task, plan: Plan, found: Mapping[str, CaseLabels], cached: Mapping[str, CachedCase]
) -> None:
    """Warn of labels and lesions that cases have in their own grid but not in their prepared arrays."""

    def prepared(case: str) -> _PlannedLabels:
        one = cached[case]
        return _PlannedLabels(one.geometry(), one.labels(), {int(value) for value in one.foreground()[:, 0]})

    _warn_of_lost(task, plan, {case: _lost(labels, plan, prepared(case)) for case, labels in found.items()})


def warn_of_vanishing(task: Task, plan: Plan, found: Mapping[str, CaseLabels]) -> None:
    """Warn of labels and lesions that will vanish, before any case is prepared.

    Only cases with small ones, of a few voxels of the planned grid, are resampled to check them: all in which
    a whole label is small, and up to `_LOOKED_AT` of the others.
    """
    largest = _SMALL * math.prod(plan.spacing)
    small = [case for case, labels in found.items() if any(0 < mm3 < largest for mm3 in labels.volumes_mm3)]
    others = [case for case in found if case not in small and any(_small_lesions(found[case], plan).values())]
    chosen = [*small, *spread(others, _LOOKED_AT)]
    if len(others) > _LOOKED_AT:
        log.info("small lesions are counted in %d of %d cases that have lesions", _LOOKED_AT, len(others))
    by_id = {case.id: case for case in task.cases}

    def resampled(case: str) -> _PlannedLabels:
        volume, label_map = read_case(by_id[case], task)
        crop = labelled_crop(volume, label_map, ignore=task.ignore)
        geometry = plan_geometry(volume.voxels, volume.affine, plan.spacing, crop)
        labels = forward_labels(label_map.voxels, geometry)
        present = {int(value) for value in count_values(labels)}
        return _PlannedLabels(geometry, Bricks(labels[np.newaxis], geometry.resampled), present)

    _warn_of_lost(task, plan, {case: _lost(found[case], plan, resampled(case)) for case in chosen})


@dataclass(frozen=True)
class _PlannedLabels:
    """The labels of a case on the planned grid."""

    geometry: Geometry
    labels: Bricks
    present: set[int]

    def has(self, value: int, lesion: LesionBox) -> bool:
        box = on_the_grid(lesion.box, self.geometry)
        size = as_size([stop - start for start, stop in zip(box.start, box.stop, strict=True)])
        return bool((self.labels.cut(box.start, size) == value).any())


@dataclass(frozen=True)
class _Lost:
    """What a case loses on the grid: whole labels; of other labels, the counts of lost and of all lesions."""

    labels: set[int]
    lesions: Mapping[int, tuple[int, int]]


def _small_lesions(labels: CaseLabels, plan: Plan) -> dict[int, list[LesionBox]]:
    largest = _SMALL * math.prod(plan.spacing) / labels.voxel_mm3
    return {
        value: [
            lesion for lesion in each.smallest if _STRAY * mm3 / labels.voxel_mm3 < lesion.voxels < largest
        ]
        for value, (each, mm3) in enumerate(zip(labels.lesions, labels.volumes_mm3, strict=True), start=1)
    }


def _lost(labels: CaseLabels, plan: Plan, grid: _PlannedLabels) -> _Lost:
    whole = {value for value, mm3 in enumerate(labels.volumes_mm3, start=1) if mm3 > 0} - grid.present
    lesions = {
        value: (sum(not grid.has(value, lesion) for lesion in small), labels.lesions[value - 1].count)
        for value, small in _small_lesions(labels, plan).items()
        if value not in whole
    }
    return _Lost(whole, {value: counts for value, counts in lesions.items() if counts[0]})


def _warn_of_lost(task: Task, plan: Plan, lost: Mapping[str, _Lost]) -> None:
    grid = " x ".join(f"{mm:.3g}" for mm in plan.spacing)
    for value, name in enumerate(task.foreground, start=1):
        cases = [case for case, each in lost.items() if value in each.labels]
        if cases:
            log.warning(
                "label %s (%d) vanishes from %d cases on the planned grid of %s mm: %s; "
                "these cases train without it; set a finer plan.spacing",
                *(name, value, len(cases), grid, listed(cases)),
            )
        counts = {case: each.lesions[value] for case, each in lost.items() if value in each.lesions}
        if counts:
            log.warning(
                "label %s (%d) loses separate parts (lesions) on the planned grid of %s mm, %d in all: %s; "
                "they train as background; set a finer plan.spacing",
                *(name, value, grid, sum(gone for gone, _ in counts.values())),
                listed(f"{gone} of {all_} in {case}" for case, (gone, all_) in counts.items()),
            )
