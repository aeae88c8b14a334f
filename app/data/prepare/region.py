"""The region of a scan that the second stage works in: a box with a margin, at least as large as a patch."""

import math
from collections.abc import Sequence
from dataclasses import replace

from app.core.plan import Plan
from app.core.types import Labels, Size, Spacing, as_size
from app.data.prepare.geometry import Geometry, Region, network_view, plan_geometry
from app.io.volumes import LabelMap, Volume

BEYOND = 0.125
"""How far a training region reaches beyond the region of prediction on each side, as a share of its length.

The regions that a first stage finds are not centred on the labels. A network whose training patches all were,
loses up to .07 of a case's Dice if a region is off centre by a twentieth of its length (docs/plan.md).
"""


def reference_box(labels: Labels, geometry: Geometry, ignore: int | None) -> Region | None:
    """Return the bounding box of the labels of a reference (i, j, k), as voxels of the scan (D, H, W).

    The class `ignore` does not count; None if there are no labels.
    """
    whole = replace(geometry, start=(0, 0, 0), stop=geometry.full)
    oriented = network_view(labels[None], whole)[0]
    return Region.around((oriented > 0) & (oriented != (-1 if ignore is None else ignore)))


def training_regions(
    volume: Volume, label_map: LabelMap, plan: Plan, margin_mm: Spacing, *, ignore: int | None
) -> tuple[Region, Region] | None:
    """Return the region around a reference, and a larger one with room to place patches off centre.

    None, which stands for the whole scan, is returned if there are no labels.
    """
    geometry = plan_geometry(volume.voxels, volume.affine, None)
    box = reference_box(label_map.voxels, geometry, ignore)
    if box is None:
        return None
    region = widened(box, geometry, margin_mm, plan)
    room = as_size([math.ceil(BEYOND * length) for length in region.size])
    return region, region.grown(room, (0, 0, 0), geometry.full)


def labelled_crop(volume: Volume, label_map: LabelMap, *, ignore: int | None) -> Region | None:
    """Return the box of all non-zero voxels, enlarged to hold labels outside it; None if there are none."""
    geometry = plan_geometry(volume.voxels, volume.affine, None)
    crop, box = Region(geometry.start, geometry.stop), reference_box(label_map.voxels, geometry, ignore)
    whole = crop if box is None else crop.union(box)
    return None if whole == crop else whole


def widened(box: Region, geometry: Geometry, margin_mm: Spacing, plan: Plan) -> Region:
    """Return a box with its margin, at least as long as a patch of `plan`, which then needs no padding."""
    return box.grown(
        _voxels(margin_mm, geometry.spacing),
        _voxels([n * mm for n, mm in zip(plan.patch, plan.spacing, strict=True)], geometry.spacing),
        geometry.full,
    )


def _voxels(millimetres: Sequence[float], spacing: Spacing) -> Size:
    return as_size([math.ceil(mm / step - 1e-6) for mm, step in zip(millimetres, spacing, strict=True)])
