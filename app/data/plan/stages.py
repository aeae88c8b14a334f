"""The choice between one stage and two.

With one stage, a network works on whole scans. With two, the network of a first stage finds the region
around the labels on a coarse grid, and the network of the second stage works in that region only.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from app.core.plan import Plan
from app.core.task import Task
from app.core.types import Spacing, as_size, as_spacing, by
from app.data.plan.fingerprint import Fingerprint
from app.data.plan.planner import make_plan
from app.data.plan.settings import PlanSettings
from app.data.plan.steps import plan_augment
from app.data.prepare.region import BEYOND

Ceilings = Callable[[Sequence[Spacing]], Sequence[float]]
"""A function from grids to the mean Dice that references keep on each (see `ceiling.py`)."""

_REGION = 0.4  # largest share of a scan's voxels at which a region is still worth a first stage
MARGINS = (1.25, 1.6, 2.0, 2.5)
"""Expected extents of the region, in multiples of the labels' extents.

The larger ones are used only if the planned time allows them.
"""
_SMALL_SCAN = 100_000  # voxels of a scan that fits into a single patch at little cost
_LEAST_VOXELS = 16  # fewest voxels of a region along an axis
_COARSE_VOXELS = 40_000  # most voxels of a whole scan in the first stage
_COARSE_CEILING = 0.8  # mean Dice kept on the coarse grid; below it a first stage would miss the labels
_COARSE_WIDTHS = (16, 128)  # channels of the first stage's network: finest level, and deepest at most
COARSE_STEPS = 200  # fewest steps of the first stage


def plan_in_two_stages(
    fingerprint: Fingerprint, task: Task, settings: PlanSettings
) -> tuple[Plan, dict[str, str]]:
    """Return a plan whose time is not planned, with a first stage if that is better, and its reasons.

    There is one reason for each value of the plan.

    Raises:
        InputError: settings that contradict each other or the data.
    """
    locate, why = first_stage(fingerprint, task, settings, lambda grids: [1.0] * len(grids))
    field = fingerprint if locate is None else in_region(fingerprint)
    plan, reasons = make_plan(field, task, settings)
    return replace(plan, locate=locate), {**reasons, "locate": why}


def first_stage(
    fingerprint: Fingerprint, task: Task, settings: PlanSettings, ceilings: Ceilings
) -> tuple[Plan | None, str]:
    """Return the plan of a first stage, or None if one stage is better, and the reason."""
    if settings.stages == 1:
        return None, "set by plan.stages: one stage"
    if not math.prod(fingerprint.foreground_mm):
        return None, "no scan has foreground: one stage"
    if settings.stages is None and math.prod(fingerprint.median_size) <= _SMALL_SCAN:
        size = by(fingerprint.median_size)
        return None, f"a whole scan has {size} voxels, which fit in one patch: one stage is enough"
    whole, region = extent_mm(fingerprint), _region_mm(fingerprint, MARGINS[0])
    share = region_share(fingerprint)
    where = f"labels lie in {_rounded(region)} of {_rounded(whole)} mm"
    if settings.stages is None and share > _REGION:
        return None, f"{where}, most of a scan: one stage is enough"
    grid = _coarse_grid(whole, fingerprint)
    (seen,) = ceilings([grid])
    if settings.stages is None and seen < _COARSE_CEILING:
        return None, (
            f"{where}, but on a grid of {short(grid)} mm, on which a whole scan has "
            f"{_COARSE_VOXELS} voxels, keeps only a Dice of {seen:.2f}: no first stage would find it"
        )
    free = replace(settings, patch=None, strides=None, kernels=None, widths=None, steps=None)
    narrow = replace(free, base_width=_COARSE_WIDTHS[0], max_width=_COARSE_WIDTHS[1])
    coarse = replace(narrow, spacing=grid, batch=2, max_patch_voxels=2 * _COARSE_VOXELS)
    plan, _ = make_plan(fingerprint, task, coarse)
    return replace(plan, steps=COARSE_STEPS), (
        f"{where}: a first stage finds them on a grid of {short(grid)} mm, so that the second works in "
        f"{100 * share:.0f} % of a scan"
    )


def with_augment(plan: Plan, fingerprint: Fingerprint, steps: int | None) -> tuple[Plan, str]:
    """Return the plan with its strength of augmentation, and the reason.

    The strength follows from the number of `steps`. A first stage gets its own, from its own steps.
    """
    locate, field = plan.locate, fingerprint
    if locate is not None:
        strength, _ = plan_augment(fingerprint.cases, parts(fingerprint, locate), locate, locate.steps)
        locate, field = replace(locate, augment=strength), in_region(fingerprint)
    strength, reason = plan_augment(fingerprint.cases, parts(field, plan), plan, steps)
    return replace(plan, augment=strength, locate=locate), reason


def in_region(fingerprint: Fingerprint, margin: float = MARGINS[0]) -> Fingerprint:
    """Return the fingerprint with the size of scans replaced by that of the region around their labels.

    The region is `margin` times as long as the labels' extents along each axis.
    """
    region = _region_mm(fingerprint, margin)
    size = [max(1, round(mm / step)) for mm, step in zip(region, fingerprint.median_spacing, strict=True)]
    return replace(fingerprint, median_size=as_size(size))


def region_share(fingerprint: Fingerprint) -> float:
    """Return the expected share of a typical scan's voxels that lie in the region of a first stage."""
    return math.prod(_region_mm(fingerprint, MARGINS[0])) / math.prod(extent_mm(fingerprint))


def prepared_share(fingerprint: Fingerprint, plan: Plan) -> float:
    """Return the expected share of a typical scan's voxels that are prepared for the second stage `plan`.

    They are the region around the labels, which is at least as long as a patch, with room on each side.
    """
    whole, patch = extent_mm(fingerprint), [n * mm for n, mm in zip(plan.patch, plan.spacing, strict=True)]
    sides = zip(whole, _region_mm(fingerprint, MARGINS[0]), patch, strict=True)
    prepared = [min(most, (1 + 2 * BEYOND) * max(region, least)) for most, region, least in sides]
    return math.prod(prepared) / math.prod(whole)


def extent_mm(fingerprint: Fingerprint) -> Spacing:
    """Return the extent of a typical scan, (D, H, W) in millimetres."""
    sides = zip(fingerprint.median_size, fingerprint.median_spacing, strict=True)
    return as_spacing([voxels * mm for voxels, mm in sides])


def parts(field: Fingerprint, plan: Plan) -> float:
    """Return the volume of a typical scan in patches of a plan, at least 1."""
    size = [mm / step for mm, step in zip(extent_mm(field), plan.spacing, strict=True)]
    return max(1.0, math.prod(size) / math.prod(plan.patch))


def short(grid: Spacing) -> str:
    """Return the spacing of a grid as text, for example 10x1.52x1.52."""
    return "x".join(f"{mm:.3g}" for mm in grid)


def _region_mm(fingerprint: Fingerprint, margin: float) -> Spacing:
    sides = zip(extent_mm(fingerprint), fingerprint.foreground_mm, fingerprint.median_spacing, strict=True)
    return as_spacing([min(whole, max(margin * labels, _LEAST_VOXELS * mm)) for whole, labels, mm in sides])


def _coarse_grid(whole: Spacing, fingerprint: Fingerprint) -> Spacing:
    """Return the finest near-isotropic grid on which a scan has at most _COARSE_VOXELS.

    Along an axis on which the scans' own voxels are longer than the others, their length is kept.
    """
    own = fingerprint.median_spacing
    step = min(own)
    while math.prod(mm / max(step, least) for mm, least in zip(whole, own, strict=True)) > _COARSE_VOXELS:
        step *= 1.05
    return as_spacing([round(max(step, mm), 3) for mm in own])


def _rounded(millimetres: Spacing) -> str:
    return by(as_size([round(mm) for mm in millimetres]))
