"""The region of a scan that a network works in where a first stage finds it: a box, its margin, a patch."""

import math
from collections.abc import Sequence
from dataclasses import replace

from app.core.plan import Plan
from app.core.types import Labels, Size, Spacing, as_size
from app.data.prepare.geometry import Geometry, Region, network_view, plan_geometry
from app.io.volumes import LabelMap, Volume


def reference_box(labels: Labels, geometry: Geometry, ignore: int | None) -> Region | None:
    """The box that holds every label of a reference (i, j, k), as voxels of the scan (D, H, W)."""
    whole = replace(geometry, start=(0, 0, 0), stop=geometry.full)
    oriented = network_view(labels[None], whole)[0]
    return Region.around((oriented > 0) & (oriented != (-1 if ignore is None else ignore)))


def reference_region(
    volume: Volume, label_map: LabelMap, plan: Plan, margin_mm: Spacing, *, ignore: int | None
) -> Region | None:
    """The region around a reference; None, which is the whole scan, where it is empty."""
    geometry = plan_geometry(volume.voxels, volume.affine, None)
    box = reference_box(label_map.voxels, geometry, ignore)
    return None if box is None else widened(box, geometry, margin_mm, plan)


def labelled_crop(volume: Volume, label_map: LabelMap, *, ignore: int | None) -> Region | None:
    """The box of all that is not zero, longer where labels reach out of it; None if they do not."""
    geometry = plan_geometry(volume.voxels, volume.affine, None)
    crop, box = Region(geometry.start, geometry.stop), reference_box(label_map.voxels, geometry, ignore)
    whole = crop if box is None else crop.union(box)
    return None if whole == crop else whole


def widened(box: Region, geometry: Geometry, margin_mm: Spacing, plan: Plan) -> Region:
    """A box with its margin, and at least as long as a patch of `plan`, so that it sees tissue all over."""
    return box.grown(
        _voxels(margin_mm, geometry.spacing),
        _voxels([n * mm for n, mm in zip(plan.patch, plan.spacing, strict=True)], geometry.spacing),
        geometry.full,
    )


def _voxels(millimetres: Sequence[float], spacing: Spacing) -> Size:
    return as_size([math.ceil(mm / step - 1e-6) for mm, step in zip(millimetres, spacing, strict=True)])
