"""The best plan for a given number of minutes: field of view, grid, patch, widths and steps together.

A network should see the labels as a whole and train for enough steps. The field of view is therefore the
whole scan or, if the labels fill only a small part of it, the region that a first stage finds. The grid is
the finest on which a patch that holds the field of view still gets enough steps. Time that is left over goes
into a wider network.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.core.plan import Plan
from app.core.task import Task
from app.core.types import Spacing, as_spacing, by
from app.data.plan.fingerprint import Fingerprint
from app.data.plan.planner import level_widths, make_plan, own_spacing
from app.data.plan.settings import PlanSettings
from app.data.plan.stages import COARSE_STEPS, MARGINS, Ceilings, first_stage, in_region, parts, short

FACTORS = (1.0, 1.26, 1.59, 2.0, 2.52, 3.17, 4.0)
"""Grids to try, as multiples of the scans' finest spacing.

If grids are isotropic, each has half the voxels of the one before.
"""
_ENOUGH = 600  # optimizer steps; a network trained for fewer is unfinished, whatever its field of view
_MOST_STEPS = 250_000  # as nnU-Net; time beyond them goes into a larger region, or the training ends early
_LEAST_SHARE = 0.5  # smallest share of the minutes left for training, however long the rest takes
_PLENTY = 150  # passes over all scans; beyond them, a wider network uses the time better
_LEAST_CEILING = 0.85  # smallest mean Dice that references must keep on a grid for it to be used
_MIDDLING = 100_000  # voxels of the patch whose step time predicts that of other patches
_SHRINK = 0.8  # share of the voxels kept at each try, if a patch does not fit into memory
_WIDTHS = (16, 24, 32, 48)
_GROWTH = 1.6  # a step's time grows with this power of the width
_COARSE_SHARE = 0.12  # share of the time spent on the first stage
_MOST_COARSE_STEPS = 20_000


@dataclass(frozen=True)
class Pace:
    """The speed and memory of the machine that trains, measured or described."""

    step_seconds: Callable[[Plan], float]
    """Seconds of one training step of a plan, for its whole batch."""
    coarse_seconds: Callable[[Plan], float]
    """Seconds of one training step of a first stage."""
    validation: Callable[[Plan, float], float]
    """Seconds of validation per second of training steps, by plan and by the volume of a case in patches."""
    other_seconds: float
    """Seconds the command spends outside training steps: reading, preparing, scoring, reporting."""
    fits: Callable[[Plan], bool]
    """Whether a training of a plan fits into memory."""


def plan_in_time(
    fingerprint: Fingerprint,
    task: Task,
    settings: PlanSettings,
    *,
    minutes: float,
    pace: Pace,
    ceilings: Ceilings,
) -> tuple[Plan, dict[str, str]]:
    """Return the plan for a command that takes `minutes`, and one reason for each of its values.

    Raises:
        InputError: settings that contradict each other or the data.
    """
    seconds = 60 * max(minutes - pace.other_seconds / 60, _LEAST_SHARE * minutes)
    locate, why_stages = first_stage(fingerprint, task, settings, ceilings)
    fields, first = [fingerprint], 0.0
    if locate is not None:
        fields = [in_region(fingerprint, margin) for margin in MARGINS]
        validation = pace.validation(locate, parts(fingerprint, locate))
        step = pace.coarse_seconds(locate) * (1 + validation)
        steps = min(_MOST_COARSE_STEPS, round(_COARSE_SHARE * seconds / step))
        locate = replace(locate, steps=max(COARSE_STEPS, steps))
        first = locate.steps * step
        locate = replace(locate, train_minutes=round(first / 60, 2))
    grids = list_grids(fingerprint, settings)
    kept = dict(zip(grids, ceilings(grids), strict=True))
    choices = [_Choice(field, task, settings, max(1.0, seconds - first), pace) for field in fields]
    choice = choices[0]
    plan, reasons = choice.of(kept)
    for wider in choices[1:]:
        if plan.steps < _MOST_STEPS:
            break
        found = wider.of(kept)
        if found[0].steps >= _MOST_STEPS:
            choice, (plan, reasons) = wider, found
    reasons["locate"] = why_stages
    reasons["steps"] += f"; as many as fit in {minutes:g} minutes (plan.minutes) after all other work"
    if plan.steps > _MOST_STEPS:
        plan = replace(plan, steps=_MOST_STEPS)
        reasons["steps"] += f", but {_MOST_STEPS} at most"
    training = plan.steps * choice.step_seconds(plan)
    taken = {"reading, preparing and scoring": pace.other_seconds, "first stage": first, "training": training}
    reasons["minutes"] = ", ".join(f"{name} {part / 60:.1f}" for name, part in taken.items() if part)
    reasons["train_minutes"] = "the steps at the measured speed; slower steps leave time for fewer"
    total = round(sum(taken.values()) / 60, 1)
    return replace(plan, locate=locate, minutes=total, train_minutes=round(training / 60, 2)), reasons


def list_grids(fingerprint: Fingerprint, settings: PlanSettings) -> list[Spacing]:
    """Return the grids to try, finest first: only the one that is set, or the scans' own and coarser ones.

    Voxels of thick slices grow in plane until they are as long as the slices are thick.
    """
    own = own_spacing(fingerprint, settings)[0]
    if settings.spacing is not None:
        return [own]
    coarser = [as_spacing([max(mm, factor * min(own)) for mm in own]) for factor in FACTORS]
    return list(dict.fromkeys([own, *coarser]))


@dataclass(frozen=True)
class _Choice:
    """The choice of grid, patch, widths and steps for one field of view and the seconds left for training."""

    field: Fingerprint
    task: Task
    settings: PlanSettings
    seconds: float
    pace: Pace

    def of(self, kept: dict[Spacing, float]) -> tuple[Plan, dict[str, str]]:
        """Return the plan and its reasons; `kept` has the mean Dice that references keep on each grid.

        The grid is the finest on which patches of the whole field get enough steps. If there is none, patches
        hold a part of the field on the coarsest grid. The network is then as wide as the time allows.
        """
        a_voxel = self._voxel_seconds()
        grids = [grid for grid in kept if kept[grid] >= _LEAST_CEILING] or [next(iter(kept))]
        rejected: list[str] = []
        chosen = "the finest grid with enough steps in the time"
        for grid in grids:
            plan, reasons = self._plan(grid, None)
            affordable = self.seconds / (_ENOUGH * a_voxel)  # voxels that leave time for the steps
            most = min(affordable, self.settings.max_patch_voxels or affordable)
            if self.settings.patch is not None or (math.prod(plan.patch) <= most and self.pace.fits(plan)):
                break
            rejected.append(self._rejected(grid, plan, a_voxel))
        else:
            chosen = "the coarsest grid that keeps enough, with patches of a part of what must be seen"
            plan, reasons = self._part(grids[-1], most)
        why = f"{chosen}: {'; '.join(rejected)}"
        reasons["spacing"] = self._spacing_reason(plan.spacing, kept[plan.spacing], why)
        return self._widened(plan, reasons)

    def step_seconds(self, plan: Plan) -> float:
        """Return the seconds of a training step with its share of the validation."""
        return self.pace.step_seconds(plan) * (1 + self.pace.validation(plan, parts(self.field, plan)))

    def _part(self, grid: Spacing, voxels: float) -> tuple[Plan, dict[str, str]]:
        """Return the plan on a grid with patches that hold a part of the field and fit into memory."""
        plan, reasons = self._plan(grid, voxels)
        while not self.pace.fits(plan) and voxels > 1:
            voxels *= _SHRINK
            smaller, reasons = self._plan(grid, voxels)
            if smaller.patch == plan.patch and voxels < math.prod(plan.patch) / 2:
                break  # the patch cannot get smaller; the check of the memory budget raises the error
            plan = smaller
        return plan, reasons

    def _widened(self, plan: Plan, reasons: dict[str, str]) -> tuple[Plan, dict[str, str]]:
        """Return the plan with its steps, and with the widest network that leaves time for enough passes."""
        plenty = max(_ENOUGH, _PLENTY * self.field.cases * parts(self.field, plan) / plan.batch)
        step, width = self.step_seconds(plan), self.settings.finest_width
        free = self.settings.widths is None and self.settings.base_width is None
        for wider in reversed(_WIDTHS if free else ()):
            if wider <= width or self.seconds / (step * (wider / width) ** _GROWTH) < plenty:
                continue
            most = self.settings.max_width or self.settings.widest * wider // width
            found = replace(plan, widths=level_widths(len(plan.widths), wider, most))
            if not self.pace.fits(found):
                continue
            plan = found
            reasons["widths"] = f"{wider} channels at full resolution: time allows {plenty:.0f} steps"
            step = self.step_seconds(plan)
            break
        reasons["steps"] = f"a step takes {self.pace.step_seconds(plan):.2g} s"
        return replace(plan, steps=max(1, round(self.seconds / step))), reasons

    def _plan(self, grid: Spacing, voxels: float | None) -> tuple[Plan, dict[str, str]]:
        """Return the plan on a grid with patches of at most `voxels`; None for patches of the whole field."""
        most = max(512, int(voxels)) if voxels is not None else math.prod(self.field.median_size) * 1000
        return make_plan(self.field, self.task, replace(self.settings, spacing=grid, max_patch_voxels=most))

    def _voxel_seconds(self) -> float:
        """Return the seconds of a step per voxel of the patch, from patches of about _MIDDLING voxels."""
        levels = self.settings if self.settings.strides else replace(self.settings, widths=None, kernels=None)
        middling, _ = make_plan(self.field, self.task, replace(levels, max_patch_voxels=_MIDDLING))
        return self.step_seconds(middling) / math.prod(middling.patch)

    def _rejected(self, grid: Spacing, plan: Plan, a_voxel: float) -> str:
        steps = self.seconds / (a_voxel * math.prod(plan.patch))
        if steps >= _ENOUGH:
            return f"{short(grid)} mm would take patches of {by(plan.patch)} voxels, more than allowed"
        return f"{short(grid)} mm would leave {steps:.0f} steps of {by(plan.patch)} voxels"

    def _spacing_reason(self, grid: Spacing, ceiling: float, chosen: str) -> str:
        """Return the reason for a grid: that of the first one, or `chosen` for others, and what it keeps."""
        finest, why = own_spacing(self.field, self.settings)
        kept = f"references resampled to it keep a mean Dice of {ceiling:.3f} on it"
        return f"{why if grid == finest else chosen}; {kept}"
