"""From fingerprint to plan: spacing, patch, levels, normalisation and training, each with its reason.

The rules for spacing and anisotropy follow nnU-Net (Isensee et al., Nature Methods 2021). The number of
voxels of a patch is bounded, because on a CPU time runs out before memory does.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from app.core.errors import InputError
from app.core.plan import Normalisation, Plan
from app.core.slices import sliced_axis
from app.core.task import Task
from app.core.types import Size, Spacing, as_size, as_spacing
from app.data.plan.fingerprint import Fingerprint
from app.data.plan.reasons import (
    BRIGHTEST_REASON,
    normalisation_reason,
    oriented_reason,
    patch_reason,
    patches,
)
from app.data.plan.settings import PlanSettings
from app.data.plan.sides import plan_mirror
from app.data.plan.steps import plan_foreground_share, plan_steps

# The network neither pools nor convolves along an axis whose voxels are more than this many times as long as
# the shortest, until pooling along the other axes has closed the gap.
_COARSE = 2.0
_LONGER = 1.2  # most that a patch may exceed a scan along an axis, as a factor, to hold the whole scan
_LEAST = 4  # fewest voxels of the deepest level along an axis
_SPARSE = 0.75  # below this share of non-zero voxels, zeros are background and left out of the statistics


def make_plan(fingerprint: Fingerprint, task: Task, settings: PlanSettings) -> tuple[Plan, dict[str, str]]:
    """Return the plan for a data set, and one reason for each of its values.

    Raises:
        InputError: settings that contradict each other or the data.
    """
    reasons: dict[str, str] = {}
    spacing, reasons["spacing"] = own_spacing(fingerprint, settings)
    median_mm = [n * mm for n, mm in zip(fingerprint.median_size, fingerprint.median_spacing, strict=True)]
    size = as_size([max(1, round(mm / step)) for mm, step in zip(median_mm, spacing, strict=True)])
    wanted = _wanted_patch(size, settings)
    strides, kernels = _levels(wanted, spacing, settings.max_levels)
    reasons["strides"] = (
        f"each level halves the grid while at least {_LEAST} voxels remain along an axis; if "
        "slices are far apart, in plane first, until voxels are about cubic"
    )
    reasons["kernels"] = (
        f"3 voxels along an axis; 1 if voxels are over {_COARSE:g} times longer than along the finest, "
        "as neighbours there have little in common"
    )
    if settings.strides is not None:
        strides, kernels, reasons["strides"] = _set_strides(settings.strides, spacing)
    patch, reasons["patch"] = wanted, "set by plan.patch"
    if settings.patch is None:
        patch = _round_patch(wanted, strides, whole=wanted == size)
        reasons["patch"] = patch_reason(patch, size, spacing, settings.most_voxels)
    batch, reasons["batch"] = _batch(settings)
    normalisation, reasons["normalisation"] = plan_normalisation(fingerprint, task, settings)
    share, reasons["foreground_share"] = plan_foreground_share(fingerprint, task, patch, size)
    parts = max(1.0, math.prod(size) / math.prod(patch))
    steps, reasons["steps"] = plan_steps(
        fingerprint.cases, parts, batch, passes=settings.passes, most=settings.max_steps
    )
    reasons["widths"] = (
        f"{settings.finest_width} channels at full resolution (plan.base_width), doubled with each level "
        f"up to {settings.widest} (plan.max_width)"
    )
    reasons["brightest"] = BRIGHTEST_REASON
    mirror, reasons["mirror"] = plan_mirror(task, fingerprint.centres, settings.mirror)
    reasons["oriented"] = oriented_reason(oriented=fingerprint.oriented)
    reasons["locate"] = "one stage"
    reasons["minutes"] = reasons["train_minutes"] = "time is not planned"
    reasons["augment"] = "all augmentation at full probability"
    plan = Plan(
        spacing=spacing,
        patch=patch,
        batch=batch,
        widths=level_widths(len(strides), settings.finest_width, settings.widest),
        strides=strides,
        kernels=kernels,
        normalisation=normalisation,
        foreground_share=share,
        steps=steps,
        brightest=fingerprint.brightest,
        mirror=mirror,
        oriented=fingerprint.oriented,
    )
    return with_set(plan, reasons, settings)


def level_widths(levels: int, finest: int, most: int) -> tuple[int, ...]:
    """Return the channels of each level: doubled from `finest` with each level, up to `most`."""
    return tuple(min(finest * 2**level, most) for level in range(levels))


def with_set(plan: Plan, reasons: dict[str, str], settings: PlanSettings) -> tuple[Plan, dict[str, str]]:
    """Return the plan with widths, kernels, foreground share and steps overridden by those that are set.

    `reasons` is changed in place and returned.
    """
    if settings.widths is not None:
        plan, reasons["widths"] = replace(plan, widths=settings.widths), "set by plan.widths"
    if settings.kernels is not None:
        kernels = tuple(as_size(kernel) for kernel in settings.kernels)
        plan, reasons["kernels"] = replace(plan, kernels=kernels), "set by plan.kernels"
    if settings.foreground_share is not None:
        plan = replace(plan, foreground_share=settings.foreground_share)
        reasons["foreground_share"] = "set by plan.foreground_share"
    if settings.steps is not None:
        plan, reasons["steps"] = replace(plan, steps=settings.steps), "set by plan.steps or task.steps"
    return plan, reasons


def _set_strides(
    given: tuple[list[int], ...], spacing: Spacing
) -> tuple[tuple[Size, ...], tuple[Size, ...], str]:
    """Return the strides as set, the kernels that follow from them, and the reason."""
    strides = tuple(as_size(stride) for stride in given)
    step, kernels = list(spacing), list[Size]()
    for stride in strides:
        step = [mm * s for mm, s in zip(step, stride, strict=True)]
        kernels.append(_kernel(step, kernels))
    return strides, tuple(kernels), "set by plan.strides"


def _batch(settings: PlanSettings) -> tuple[int, str]:
    if settings.batch is not None:
        return settings.batch, "set by plan.batch"
    return settings.max_batch, f"{patches(settings.max_batch)} per step (plan.max_batch)"


def own_spacing(fingerprint: Fingerprint, settings: PlanSettings) -> tuple[Spacing, str]:
    """Return the spacing that is set, or else the median of the scans, and the reason."""
    if settings.spacing is not None:
        return as_spacing(settings.spacing), "set by plan.spacing"
    why = f"the median voxel size of {fingerprint.cases} scans, in mm"
    if sliced_axis(fingerprint.median_spacing) is not None:
        why += (
            "; scans with slices half as thick or thinner are segmented in stacks of every second and so on"
        )
    return fingerprint.median_spacing, why


def _wanted_patch(size: Size, settings: PlanSettings) -> Size:
    """Return the patch that is set, or the size of a typical scan, scaled down if it has too many voxels."""
    if settings.patch is not None:
        return as_size(settings.patch)
    shrink = min(1.0, (settings.most_voxels / math.prod(size)) ** (1 / 3))
    return as_size([max(1, round(n * shrink)) for n in size])


def _levels(patch: Size, spacing: Spacing, max_levels: int) -> tuple[tuple[Size, ...], tuple[Size, ...]]:
    """Return the stride into each level, and the kernel of each level."""
    size, step = [float(n) for n in patch], list(spacing)
    strides, kernels = [(1, 1, 1)], [_kernel(step, [])]
    while len(strides) < max_levels:
        caught_up = [step[axis] <= _COARSE * min(step) for axis in range(3)]
        stride = [2 if size[axis] / 2 >= _LEAST and caught_up[axis] else 1 for axis in range(3)]
        if stride == [1, 1, 1]:
            break
        size = [n / s for n, s in zip(size, stride, strict=True)]
        step = [mm * s for mm, s in zip(step, stride, strict=True)]
        strides.append(as_size(stride))
        kernels.append(_kernel(step, kernels))
    return tuple(strides), tuple(kernels)


def _kernel(step: list[float], finer: Sequence[Size]) -> Size:
    """Return the kernel of a level, with 3 taps along most axes.

    It has 1 tap along an axis whose voxels are over _COARSE times as long as the shortest, unless a finer
    level has 3 there.
    """
    before = finer[-1] if finer else (1, 1, 1)
    return as_size(
        [1 if mm > _COARSE * min(step) and taps == 1 else 3 for mm, taps in zip(step, before, strict=True)]
    )


def _round_patch(wanted: Size, strides: tuple[Size, ...], *, whole: bool) -> Size:
    """Return the wanted patch, rounded to multiples of the total stride.

    If the patch holds the `whole` of a typical scan, axes that grow by at most the factor _LONGER are rounded
    up; all others are rounded to the nearest multiple, because each voxel costs time.
    """
    lengths = []
    for n, total in zip(wanted, (math.prod(axis) for axis in zip(*strides, strict=True)), strict=True):
        up = math.ceil(n / total) * total
        lengths.append(up if whole and up <= _LONGER * n else max(1, round(n / total)) * total)
    return as_size(lengths)


def plan_normalisation(
    fingerprint: Fingerprint, task: Task, settings: PlanSettings
) -> tuple[tuple[Normalisation, ...], str]:
    """Return the normalisation of each channel, as set or by modality, and the reason.

    Raises:
        InputError: plan.normalisation does not have one scheme per modality.
    """
    schemes = settings.normalisation or tuple(
        _scheme(modality, share)
        for modality, share in zip(task.modalities, fingerprint.nonzero_share, strict=True)
    )
    if len(schemes) != len(task.modalities):
        raise InputError(
            f"plan.normalisation: got {len(schemes)} schemes, wanted {len(task.modalities)}, one per modality"
        )
    channels = tuple(
        known if scheme == "ct" else Normalisation(scheme)
        for scheme, known in zip(schemes, fingerprint.intensities, strict=True)
    )
    if settings.normalisation is not None:
        return channels, "set by plan.normalisation"
    return channels, normalisation_reason(channels, task.modalities, fingerprint.nonzero_share)


def _scheme(modality: str, nonzero_share: float) -> str:
    if modality.strip().upper() == "CT":
        return "ct"
    return "zscore" if nonzero_share > _SPARSE else "zscore_nonzero"
