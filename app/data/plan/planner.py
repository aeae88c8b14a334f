"""Fingerprint -> plan: spacing, patch, levels, normalisation and training, each with the reason.

The rules follow nnU-Net's (Isensee et al., Nature Methods 2021) where they concern spacing and anisotropy;
the patch is bounded by voxels, because time on a CPU is what runs out first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.core.errors import InputError
from app.core.plan import Normalisation, Plan
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
from app.data.plan.sides import plan_mirror
from app.data.plan.steps import plan_foreground_share, plan_steps

# An axis this much coarser than the finest is neither pooled nor convolved along until it has caught up.
_COARSE = 2.0
MAX_PATCH_VOXELS = 100_000  # bounds time and memory of a step where neither is planned with
_DEVICE = {"kind", "memory_gb", "gmac_per_s"}
_CPU_WIDTHS, _GPU_WIDTHS = (16, 128), (32, 320)  # of the finest and the deepest level; on a GPU nnU-Net's
_LONGER = 1.2  # times a scan along an axis that a patch may be at most to hold it as a whole
_LEAST = 4  # voxels of the deepest level along an axis
_SPARSE = 0.75  # below this share of non-zero voxels, zero is background and kept out of the statistics


@dataclass(frozen=True)
class PlanSettings:
    """What the user may fix; None is planned from the data."""

    file: str | None
    """A plan.yaml to take instead, of another run or task; see `reuse_plan` for what replaces its values."""
    spacing: tuple[float, ...] | None
    patch: tuple[int, ...] | None
    batch: int | None
    max_batch: int
    base_width: int | None
    """Channels at full resolution, which double with every level up to max_width; None suits the device."""
    max_width: int | None
    max_levels: int
    widths: tuple[int, ...] | None
    strides: tuple[list[int], ...] | None
    kernels: tuple[list[int], ...] | None
    max_patch_voxels: int | None
    """Of a patch; None for what the time allows, or MAX_PATCH_VOXELS where time is not planned."""
    memory_gb: float | None
    """What a training may take; None for what this machine has."""
    normalisation: tuple[str, ...] | None
    """ct, zscore or zscore_nonzero for each channel."""
    foreground_share: float | None
    mirror: Any
    """Pairs of label values that change places in a mirror image; true for none, false for no mirroring."""
    steps: int | None
    passes: int
    """Over all scans, in a training whose time is not planned."""
    max_steps: int
    minutes: Any
    """From the start of the command to its summary; auto suits the device, None is as many as it takes."""
    stages: int | None
    """1, or 2 for a first stage that finds the region where labels lie; None for what is better."""
    device: dict[str, Any] | None
    """Another device to plan for: kind (cpu or cuda), memory_gb and gmac_per_s."""

    def __post_init__(self) -> None:
        """Validate values."""
        widths = (("base_width", 1), ("max_width", 1))
        bounds = (("max_batch", 1), *widths, ("max_levels", 1), ("max_patch_voxels", 512))
        training = (("steps", 1), ("passes", 1), ("max_steps", 1))
        for name, least in (*bounds, ("batch", 1), *training):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"plan.{name}: got {value}, wanted at least {least}")
        if self.memory_gb is not None and self.memory_gb <= 0:
            raise InputError(f"plan.memory_gb: got {self.memory_gb}, wanted more than 0")
        device = self.device or {}
        if device and not (set(device) == _DEVICE and device["kind"] in ("cpu", "cuda")):
            raise InputError(
                f"plan.device: got {device}, wanted {{kind: cpu or cuda, memory_gb: ..., gmac_per_s: ...}}"
            )
        if self.stages not in (None, 1, 2):
            raise InputError(f"plan.stages: got {self.stages}, wanted 1, 2 or null")
        if self.minutes not in (None, "auto") and not (
            isinstance(self.minutes, int | float) and self.minutes > 0
        ):
            raise InputError(f"plan.minutes: got {self.minutes!r}, wanted minutes, auto or null")
        if self.foreground_share is not None and not 0 <= self.foreground_share <= 1:
            raise InputError(f"plan.foreground_share: got {self.foreground_share}, wanted from 0 to 1")
        for name in ("spacing", "patch"):
            value = getattr(self, name)
            if value is not None and (len(value) != 3 or min(value) <= 0):
                raise InputError(f"plan.{name}: got {list(value)}, wanted three positive numbers [D, H, W]")
        for name in ("strides", "kernels"):
            for entry in getattr(self, name) or ():
                if len(entry) != 3 or min(entry) < 1:
                    raise InputError(f"plan.{name}: got {list(entry)}, wanted [D, H, W] for each level")

    @property
    def most_voxels(self) -> int:
        """Of a patch."""
        return self.max_patch_voxels or MAX_PATCH_VOXELS

    @property
    def finest_width(self) -> int:
        """Channels at full resolution."""
        return self.base_width or (_GPU_WIDTHS if self.on_gpu else _CPU_WIDTHS)[0]

    @property
    def widest(self) -> int:
        """Channels of the deepest level at most."""
        return self.max_width or (_GPU_WIDTHS if self.on_gpu else _CPU_WIDTHS)[1]

    @property
    def on_gpu(self) -> bool:
        """Whether it is planned for a GPU."""
        return self.device is not None and self.device["kind"] == "cuda"


def make_plan(fingerprint: Fingerprint, task: Task, settings: PlanSettings) -> tuple[Plan, dict[str, str]]:
    """The plan for a data set, and one reason for each of its values.

    Raises:
        InputError: settings that contradict each other or the data.
    """
    reasons: dict[str, str] = {}
    spacing, reasons["spacing"] = fine_spacing(fingerprint, settings)
    median_mm = [n * mm for n, mm in zip(fingerprint.median_size, fingerprint.median_spacing, strict=True)]
    size = as_size([max(1, round(mm / step)) for mm, step in zip(median_mm, spacing, strict=True)])
    wanted = _wanted_patch(size, settings)
    strides, kernels = _levels(wanted, spacing, settings.max_levels)
    reasons["strides"] = (
        f"each level halves the grid while {_LEAST} voxels stay along an axis; where slices lie far apart, "
        "first in plane, until voxels are about as long as wide"
    )
    reasons["kernels"] = (
        f"3 voxels along an axis; 1 where voxels are over {_COARSE:g} times longer than along the finest, "
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
    reasons["locate"], reasons["minutes"] = "one stage", "time is not planned"
    reasons["augment"] = "all of the chances of augmentation"
    plan = Plan(
        spacing=spacing,
        patch=patch,
        batch=batch,
        widths=tuple(min(settings.finest_width * 2**i, settings.widest) for i in range(len(strides))),
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


def with_set(plan: Plan, reasons: dict[str, str], settings: PlanSettings) -> tuple[Plan, dict[str, str]]:
    """The plan with the widths, kernels, foreground share and steps that are set."""
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
    """Strides as set, and the kernels that follow from them."""
    strides = tuple(as_size(stride) for stride in given)
    step, kernels = list(spacing), list[Size]()
    for stride in strides:
        step = [mm * s for mm, s in zip(step, stride, strict=True)]
        kernels.append(_kernel(step, kernels))
    return strides, tuple(kernels), "set by plan.strides"


def _batch(settings: PlanSettings) -> tuple[int, str]:
    if settings.batch is not None:
        return settings.batch, "set by plan.batch"
    return settings.max_batch, f"{patches(settings.max_batch)} a step (plan.max_batch)"


def fine_spacing(fingerprint: Fingerprint, settings: PlanSettings) -> tuple[Spacing, str]:
    """Return the grid that is set, or that of the scans themselves, and why it is that."""
    if settings.spacing is not None:
        return as_spacing(settings.spacing), "set by plan.spacing"
    spacing = list(fingerprint.median_spacing)
    coarse = spacing.index(max(spacing))
    if spacing[coarse] / min(spacing) <= 3:
        return as_spacing(spacing), f"the median voxel size of {fingerprint.cases} scans, in mm"
    finest_other = max(spacing[:coarse] + spacing[coarse + 1 :])
    spacing[coarse] = max(fingerprint.fine_spacing[coarse], finest_other)
    return as_spacing(spacing), (
        f"the median voxel size of {fingerprint.cases} scans, in mm; between slices, which lie far apart, "
        "the 10th percentile, so that the scans of thinner slices keep their detail"
    )


def _wanted_patch(size: Size, settings: PlanSettings) -> Size:
    """A typical scan, shrunk in its proportions where it is too large."""
    if settings.patch is not None:
        return as_size(settings.patch)
    shrink = min(1.0, (settings.most_voxels / math.prod(size)) ** (1 / 3))
    return as_size([max(1, round(n * shrink)) for n in size])


def _levels(patch: Size, spacing: Spacing, max_levels: int) -> tuple[tuple[Size, ...], tuple[Size, ...]]:
    """Strides into and kernels of each level."""
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
    """1 along an axis of voxels over _COARSE times longer than along the finest; once 3, always 3."""
    before = finer[-1] if finer else (1, 1, 1)
    return as_size(
        [1 if mm > _COARSE * min(step) and taps == 1 else 3 for mm, taps in zip(step, before, strict=True)]
    )


def _round_patch(wanted: Size, strides: tuple[Size, ...], *, whole: bool) -> Size:
    """To a multiple of the total stride: upwards where the `whole` of a typical scan fits, else the nearest.

    Upwards only along axes that get little longer by it: a patch is paid for by the voxel.
    """
    lengths = []
    for n, total in zip(wanted, (math.prod(axis) for axis in zip(*strides, strict=True)), strict=True):
        up = math.ceil(n / total) * total
        lengths.append(up if whole and up <= _LONGER * n else max(1, round(n / total)) * total)
    return as_size(lengths)


def plan_normalisation(
    fingerprint: Fingerprint, task: Task, settings: PlanSettings
) -> tuple[tuple[Normalisation, ...], str]:
    schemes = settings.normalisation or tuple(
        _scheme(modality, share)
        for modality, share in zip(task.modalities, fingerprint.nonzero_share, strict=True)
    )
    if len(schemes) != len(task.modalities):
        raise InputError(
            f"plan.normalisation: got {len(schemes)} schemes, wanted {len(task.modalities)}, one a modality"
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
