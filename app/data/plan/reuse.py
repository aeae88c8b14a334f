"""The plan of another run or task, taken as it is but for what is set."""

from dataclasses import replace
from pathlib import Path

from app.core.errors import InputError
from app.core.plan import Plan, read_plan
from app.core.task import Task
from app.core.types import as_size, as_spacing
from app.data.plan.fingerprint import Fingerprint
from app.data.plan.planner import PlanSettings, plan_normalisation, with_set
from app.data.plan.reasons import BRIGHTEST_REASON


def reuse_plan(
    path: Path, fingerprint: Fingerprint, task: Task, settings: PlanSettings
) -> tuple[Plan, dict[str, str]]:
    """The plan in a file, and for each value why it was chosen there or that it is set here.

    Spacing, patch, batch, widths, kernels, normalisation, foreground share and steps replace the file's where
    they are set; other settings shape new plans only.

    Raises:
        InputError: no plan, one for other channels, or strides set that its levels do not have.
    """
    plan, reasons = read_plan(path)
    if len(plan.normalisation) != len(task.modalities):
        raise InputError(
            f"plan.file: {path}: is for {len(plan.normalisation)} channels, "
            f"the task has {len(task.modalities)} ({', '.join(task.modalities)})"
        )
    if settings.strides is not None:
        raise InputError("plan.strides: the levels of a reused plan are fixed; leave out plan.file")
    reasons = {name: f"{path}: {reason}" for name, reason in reasons.items()}
    if settings.spacing is not None:
        plan, reasons["spacing"] = replace(plan, spacing=as_spacing(settings.spacing)), "set by plan.spacing"
    if settings.patch is not None:
        plan, reasons["patch"] = replace(plan, patch=as_size(settings.patch)), "set by plan.patch"
    if settings.batch is not None:
        plan, reasons["batch"] = replace(plan, batch=settings.batch), "set by plan.batch"
    if settings.normalisation is not None:
        channels, reasons["normalisation"] = plan_normalisation(fingerprint, task, settings)
        plan = replace(plan, normalisation=channels)
    plan, reasons["brightest"] = replace(plan, brightest=fingerprint.brightest), BRIGHTEST_REASON
    return with_set(plan, reasons, settings)
