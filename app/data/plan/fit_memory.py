"""A plan that fits into memory: patch and batch shrink until it does."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from app.core.errors import InputError
from app.core.plan import Plan
from app.core.task import Task
from app.data.plan.fingerprint import Fingerprint
from app.data.plan.reuse import reuse_plan
from app.data.plan.settings import PlanSettings

MakePlan = Callable[[PlanSettings], tuple[Plan, dict[str, str]]]

_SMALLEST_VOXELS = 32**3  # a smaller patch shows too little of a scan; the batch shrinks instead
_STEP = 0.8  # share of the patch's voxels kept at each try


@dataclass(frozen=True)
class MemoryBudget:
    """The bytes a training may take, and a function that predicts the bytes a plan will take."""

    limit_bytes: int
    predict_bytes: Callable[[Plan], int]


def plan_within(
    make: MakePlan, fingerprint: Fingerprint, task: Task, settings: PlanSettings, budget: MemoryBudget
) -> tuple[Plan, dict[str, str]]:
    """Return the plan and reasons of `make`, with a smaller patch, then a smaller batch, to fit the budget.

    Raises:
        InputError: the plan does not fit, and patch and batch are fixed or as small as allowed.
    """
    if settings.file is not None:
        plan, reasons = reuse_plan(Path(settings.file), fingerprint, task, settings)
    else:
        plan, reasons = make(settings)
    tried, needed = settings, budget.predict_bytes(plan)
    while needed > budget.limit_bytes:
        tried = _smaller(tried, plan, needed, budget.limit_bytes)
        plan, reasons = make(tried)
        needed = budget.predict_bytes(plan)
        reasons = _reasons(reasons, settings, tried, budget.limit_bytes)
    reasons["batch"] += f"; a training takes about {needed / 1e9:.1f} GB of memory"
    return plan, reasons


def _smaller(settings: PlanSettings, plan: Plan, needed: int, limit: int) -> PlanSettings:
    voxels = min(settings.max_patch_voxels or math.prod(plan.patch), math.prod(plan.patch))
    free = settings.file is None
    if free and settings.patch is None and voxels * _STEP >= _SMALLEST_VOXELS:
        return replace(settings, max_patch_voxels=int(voxels * _STEP))
    if free and settings.batch is None and plan.batch > 1:
        return replace(settings, max_batch=plan.batch - 1)
    narrower = "plan.base_width" if free else "plan.widths"
    raise InputError(
        f"plan.memory_gb: got {limit / 1e9:.2f} GB, patch {list(plan.patch)} and batch {plan.batch} need "
        f"about {needed / 1e9:.2f} GB; set a smaller plan.patch, plan.batch or {narrower}"
    )


def _reasons(reasons: dict[str, str], asked: PlanSettings, tried: PlanSettings, limit: int) -> dict[str, str]:
    """Return the reasons, with the memory budget added to those of patch and batch if it changed them."""
    why = f", to fit in plan.memory_gb {limit / 1e9:.3g}"
    changed = {"patch": asked.max_patch_voxels != tried.max_patch_voxels}
    changed["batch"] = asked.max_batch != tried.max_batch
    return {name: text + why if changed.get(name) else text for name, text in reasons.items()}
