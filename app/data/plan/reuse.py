"""The plan of another run or task, reused except for values that are set or that depend on the data."""

from dataclasses import replace
from pathlib import Path

from app.core.errors import InputError
from app.core.plan import Plan, read_plan
from app.core.task import Task
from app.core.types import as_size, as_spacing
from app.data.plan.fingerprint import Fingerprint
from app.data.plan.planner import plan_normalisation, with_set
from app.data.plan.reasons import BRIGHTEST_REASON, oriented_reason
from app.data.plan.settings import PlanSettings
from app.data.plan.sides import plan_mirror


def reuse_plan(
    path: Path, fingerprint: Fingerprint, task: Task, settings: PlanSettings
) -> tuple[Plan, dict[str, str]]:
    """Return the plan in a file, with the values that are set now, and the reason for each value.

    Spacing, patch, batch, widths, kernels, strides (with widths and kernels), normalisation, foreground share
    and steps override the file's if they are set, and plan.stages=1 leaves out a first stage. Mirrored
    labels, orientation and the brightest intensities are planned again from this task's data; so is the
    normalisation if the number of channels differs. Other settings apply to new plans only.

    Raises:
        InputError: the file holds no plan, or plan.strides is set without widths and kernels.
    """
    plan, reasons = read_plan(path)
    reasons = {name: f"{path}: {reason}" for name, reason in reasons.items()}
    if settings.strides is not None:
        plan = _with_levels(plan, settings)
        reasons["strides"] = "set by plan.strides"
    if settings.spacing is not None:
        plan, reasons["spacing"] = replace(plan, spacing=as_spacing(settings.spacing)), "set by plan.spacing"
    if settings.patch is not None:
        plan, reasons["patch"] = replace(plan, patch=as_size(settings.patch)), "set by plan.patch"
    if settings.batch is not None:
        plan, reasons["batch"] = replace(plan, batch=settings.batch), "set by plan.batch"
    if settings.normalisation is not None or len(plan.normalisation) != len(task.modalities):
        channels, reasons["normalisation"] = plan_normalisation(fingerprint, task, settings)
        plan = replace(plan, normalisation=channels)
    plan, reasons["brightest"] = replace(plan, brightest=fingerprint.brightest), BRIGHTEST_REASON
    mirror, reasons["mirror"] = plan_mirror(task, fingerprint.centres, settings.mirror)
    reasons["oriented"] = oriented_reason(oriented=fingerprint.oriented)
    untimed = "time is not planned, because the plan comes from another run"
    reasons["minutes"] = reasons["train_minutes"] = untimed
    plan = replace(plan, mirror=mirror, oriented=fingerprint.oriented, minutes=None, train_minutes=None)
    if plan.locate is not None:
        kept = {name: getattr(plan, name) for name in ("normalisation", "brightest", "mirror", "oriented")}
        locate = replace(plan.locate, **kept, train_minutes=None)
        plan = replace(plan, locate=None if settings.stages == 1 else locate)
    return with_set(plan, reasons, settings)


def _with_levels(plan: Plan, settings: PlanSettings) -> Plan:
    """Return the plan with the levels that are set.

    Raises:
        InputError: plan.strides is set without widths and kernels.
    """
    if settings.strides is None or settings.widths is None or settings.kernels is None:
        raise InputError(
            "plan.strides: the levels of a reused plan are fixed; set plan.widths and plan.kernels too, or "
            "leave out plan.file"
        )
    strides, kernels = (tuple(as_size(each) for each in of) for of in (settings.strides, settings.kernels))
    return replace(plan, strides=strides, widths=settings.widths, kernels=kernels)
