"""The plan that wins in the minutes there are: field of view, grid, patch, widths and steps together.

A network must see what it looks for as a whole, and take enough steps. So the field is the whole scan, or
the region around the labels that a first stage finds, where that is a small part of the scan. The grid is the
finest on which a patch that holds the field still gets enough steps; what is left over widens the network.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.core.plan import Plan
from app.core.task import Task
from app.core.types import Size, Spacing, as_size, as_spacing, by
from app.data.plan.fingerprint import Fingerprint
from app.data.plan.planner import PlanSettings, fine_spacing, make_plan

FACTORS = (1.0, 1.26, 1.59, 2.0, 2.52, 3.17, 4.0)
"""Grids tried: the scans' own and coarser ones, halving their voxels from one to the next."""
_ENOUGH = 2000  # optimizer steps; fewer leave a network unfinished, however well it sees
_PLENTY = 150  # passes over all scans; what is beyond is worth more in a wider network
_LEAST_CEILING = 0.85  # of a grid's mean ceiling: below it what is lost outweighs what is seen
_MIDDLING = 100_000  # voxels of a patch whose step is measured to foretell others
_NO_BOUND = 1e9  # voxels
_WIDTHS = (16, 24, 32, 48)
_GROWTH = 1.6  # power of the width that a step's time grows with

_REGION = 0.4  # of a scan's voxels: a region beyond it is not worth a first stage
_MARGIN = 1.25  # times the labels' extents, what a region is foretold to be
_COARSE_VOXELS = 40_000  # of a whole scan in the first stage
_COARSE_CEILING = 0.8  # of the mean ceiling: below it a first stage would not see what it looks for
_COARSE_SHARE = 0.12  # of the time, for the first stage
_COARSE_WIDTHS = (16, 128)  # of the finest and the deepest level of the first stage
_COARSE_LEAST = 200  # steps of the first stage

_VALIDATING = 0.1  # of the training's time


@dataclass(frozen=True)
class Pace:
    """How fast this machine is, measured or described."""

    step_seconds: Callable[[Plan], float]
    """Of one training step of a plan, batch and all."""
    other_seconds: float
    """What the command takes besides its steps: reading, preparing, judging, reporting."""


def plan_in_time(
    fingerprint: Fingerprint,
    task: Task,
    settings: PlanSettings,
    *,
    minutes: float,
    pace: Pace,
    ceilings: Callable[[Sequence[Spacing]], Sequence[float]],
) -> tuple[Plan, dict[str, str]]:
    """Return the plan for so many minutes, and one reason for each of its values.

    `ceilings` gives for each grid the mean Dice that references keep on it.

    Raises:
        InputError: settings that contradict each other or the data.
    """
    seconds = max(1.0, 60 * minutes - pace.other_seconds) / (1 + _VALIDATING)
    grids = list_grids(fingerprint, settings)
    kept = dict(zip(grids, ceilings(grids), strict=True))
    locate, why_stages = _first_stage(fingerprint, task, settings, kept)
    field = fingerprint
    if locate is not None:
        field = with_extent(fingerprint, _region_mm(fingerprint))
        coarse_seconds = pace.step_seconds(locate)
        steps = max(_COARSE_LEAST, round(_COARSE_SHARE * seconds / coarse_seconds))
        locate = replace(locate, steps=steps)
        seconds = max(1.0, seconds - steps * coarse_seconds)
    plan, reasons = _Choice(field, task, settings, seconds, pace).of(kept)
    reasons["locate"] = why_stages
    reasons["steps"] += f"; as many as {minutes:g} minutes (plan.minutes) leave beside all else"
    training = plan.steps * pace.step_seconds(plan) * (1 + _VALIDATING)
    first = 0.0 if locate is None else locate.steps * pace.step_seconds(locate) * (1 + _VALIDATING)
    parts = {"reading, preparing, judging": pace.other_seconds, "first stage": first, "training": training}
    foretold = round(sum(parts.values()) / 60, 1)
    reasons["minutes"] = ", ".join(f"{name} {part / 60:.1f}" for name, part in parts.items() if part)
    return replace(plan, locate=locate, minutes=foretold), reasons


def plan_in_two_stages(
    fingerprint: Fingerprint, task: Task, settings: PlanSettings
) -> tuple[Plan, dict[str, str]]:
    """Return the plan with a first stage, where time is not planned, and one reason for each of its values.

    Raises:
        InputError: settings that contradict each other or the data.
    """
    locate, why = _first_stage(fingerprint, task, settings, {})
    plan, reasons = make_plan(with_extent(fingerprint, _region_mm(fingerprint)), task, settings)
    return replace(plan, locate=locate), {**reasons, "locate": why}


def list_grids(fingerprint: Fingerprint, settings: PlanSettings) -> list[Spacing]:
    """Return the grids to try, finest first: what is set, or the scans' own and coarser ones.

    Along thick slices the median comes next, then voxels in plane grow until they are as long.
    """
    finest = fine_spacing(fingerprint, settings)[0]
    if settings.spacing is not None:
        return [finest]
    own = fingerprint.median_spacing
    coarser = [as_spacing([max(mm, factor * min(own)) for mm in own]) for factor in FACTORS]
    return list(dict.fromkeys([finest, *coarser]))


def with_extent(fingerprint: Fingerprint, extent_mm: Spacing) -> Fingerprint:
    """Return the fingerprint as if scans were so long along (D, H, W)."""
    size = [max(1, round(mm / step)) for mm, step in zip(extent_mm, fingerprint.median_spacing, strict=True)]
    return replace(fingerprint, median_size=as_size(size))


def _extent_mm(fingerprint: Fingerprint) -> Spacing:
    return as_spacing(
        [n * mm for n, mm in zip(fingerprint.median_size, fingerprint.median_spacing, strict=True)]
    )


def _region_mm(fingerprint: Fingerprint) -> Spacing:
    return as_spacing(
        [
            min(whole, _MARGIN * labelled)
            for whole, labelled in zip(_extent_mm(fingerprint), fingerprint.foreground_mm, strict=True)
        ]
    )


def _first_stage(
    fingerprint: Fingerprint, task: Task, settings: PlanSettings, kept: dict[Spacing, float]
) -> tuple[Plan | None, str]:
    """Return the plan of a first stage, or None where one stage is better, and why."""
    if settings.stages == 1:
        return None, "set by plan.stages: one stage"
    whole, region = _extent_mm(fingerprint), _region_mm(fingerprint)
    share = math.prod(region) / math.prod(whole)
    where = f"labels lie in {by(_whole(region))} of {by(_whole(whole))} mm"
    grid = _coarse_grid(whole, fingerprint)
    seen = float(np.interp(math.prod(grid), *_curve(kept))) if kept else 1.0
    if settings.stages is None and share > _REGION:
        return None, f"{where}, most of a scan: one stage sees it all"
    if settings.stages is None and seen < _COARSE_CEILING:
        return None, (
            f"{where}, but of what is outlined a whole scan of {_COARSE_VOXELS} voxels keeps only a Dice of "
            f"{seen:.2f}: no first stage would find it"
        )
    coarse = replace(
        settings, spacing=grid, patch=None, batch=2, strides=None, kernels=None, widths=None, steps=None,
        base_width=_COARSE_WIDTHS[0], max_width=_COARSE_WIDTHS[1], max_patch_voxels=2 * _COARSE_VOXELS,
    )  # fmt: skip
    plan, _ = make_plan(fingerprint, task, coarse)
    return replace(plan, steps=_COARSE_LEAST), (
        f"{where}: a first stage finds them on a grid of {_short(grid)} mm, so that the second works in "
        f"{100 * share:.0f} % of a scan"
    )


def _coarse_grid(whole: Spacing, fingerprint: Fingerprint) -> Spacing:
    """The finest grid of voxels as equal as the scans' own allow, on which a scan has few enough of them."""
    own = fingerprint.median_spacing
    step = min(own)
    while math.prod(mm / max(step, least) for mm, least in zip(whole, own, strict=True)) > _COARSE_VOXELS:
        step *= 1.05
    return as_spacing([round(max(step, mm), 3) for mm in own])


def _curve(kept: dict[Spacing, float]) -> tuple[list[float], list[float]]:
    """Ceilings by the volume of a voxel, for interpolation."""
    points = sorted((math.prod(grid), ceiling) for grid, ceiling in kept.items())
    return [volume for volume, _ in points], [ceiling for _, ceiling in points]


@dataclass(frozen=True)
class _Choice:
    """A grid, a patch, widths and steps for a field of view in the seconds that training has."""

    field: Fingerprint
    task: Task
    settings: PlanSettings
    seconds: float
    pace: Pace

    def of(self, kept: dict[Spacing, float]) -> tuple[Plan, dict[str, str]]:
        """The finest grid on which patches of the whole field get enough steps; then the widest network."""
        a_voxel = self._voxel_seconds()
        affordable = self.seconds / (_ENOUGH * a_voxel)  # voxels of a step's patch
        grids = [grid for grid in kept if kept[grid] >= _LEAST_CEILING] or [next(iter(kept))]
        rejected: list[str] = []
        for grid in grids:
            plan, reasons = self._plan(grid, _NO_BOUND)
            if math.prod(plan.patch) <= affordable or self.settings.patch is not None:
                break
            steps = self.seconds / (a_voxel * math.prod(plan.patch))
            rejected.append(f"{_short(grid)} mm would leave {steps:.0f} steps of {by(plan.patch)} voxels")
        else:
            plan, reasons = self._plan(grids[-1], affordable)
        reasons["spacing"] = _spacing_reason(kept[plan.spacing], rejected, reasons["spacing"])
        return self._widened(plan, reasons)

    def _widened(self, plan: Plan, reasons: dict[str, str]) -> tuple[Plan, dict[str, str]]:
        """The plan with as wide a network as still goes over all scans often enough, and its steps."""
        plenty = max(_ENOUGH, _PLENTY * self.field.cases * _parts(self.field, plan) / plan.batch)
        step, width = self.pace.step_seconds(plan), self.settings.finest_width
        wider = [
            more
            for more in _WIDTHS
            if more > width and self.seconds / (step * (more / width) ** _GROWTH) >= plenty
        ]
        if wider and self.settings.widths is None and self.settings.base_width is None:
            most = self.settings.widest * wider[-1] // width
            settings = replace(self.settings, base_width=wider[-1], max_width=most)
            found, why = replace(self, settings=settings)._plan(plan.spacing, math.prod(plan.patch) + 1)
            plan, reasons = found, {**why, "spacing": reasons["spacing"], "patch": reasons["patch"]}
            reasons["widths"] = (
                f"{wider[-1]} channels at full resolution: there is time for {plenty:.0f} steps"
            )
            step = self.pace.step_seconds(plan)
        reasons["steps"] = f"a step takes {step:.2f} s"
        return replace(plan, steps=max(1, round(self.seconds / step))), reasons

    def _plan(self, grid: Spacing, voxels: float) -> tuple[Plan, dict[str, str]]:
        most = min(int(voxels), self.settings.max_patch_voxels or int(voxels))
        settings = replace(self.settings, spacing=grid, max_patch_voxels=max(512, most))
        return make_plan(self.field, self.task, settings)

    def _voxel_seconds(self) -> float:
        """Seconds of a step for each voxel of a patch, by a step in patches of middling size."""
        middling, _ = make_plan(self.field, self.task, replace(self.settings, max_patch_voxels=_MIDDLING))
        return self.pace.step_seconds(middling) / math.prod(middling.patch)


def _parts(field: Fingerprint, plan: Plan) -> float:
    size = [mm / step for mm, step in zip(_extent_mm(field), plan.spacing, strict=True)]
    return max(1.0, math.prod(size) / math.prod(plan.patch))


def _whole(millimetres: Spacing) -> Size:
    return as_size([round(mm) for mm in millimetres])


def _short(grid: Spacing) -> str:
    return "x".join(f"{mm:.3g}" for mm in grid)


def _spacing_reason(ceiling: float, rejected: Sequence[str], own: str) -> str:
    kept = f"references keep a mean Dice of {ceiling:.3f} on it"
    if not rejected:
        return f"{own}; {kept}"
    return f"the finest grid with enough steps in the time there is: {'; '.join(rejected)}; {kept}"
