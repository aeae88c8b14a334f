"""Fingerprint -> plan: spacing, patch, levels and normalisation, each with the reason.

The rules follow nnU-Net's (Isensee et al., Nature Methods 2021) where they concern spacing and anisotropy;
the patch is bounded by voxels, because time on a CPU is what runs out first.
"""

import math
from dataclasses import dataclass, replace

from app.core.errors import InputError
from app.core.plan import Normalisation, Plan
from app.core.task import Task
from app.core.types import Size, Spacing, as_size, as_spacing
from app.data.fingerprint import Fingerprint

_COARSE = (
    2.0  # an axis this much coarser than the finest is neither pooled nor convolved until it has caught up
)
_SPARSE = 0.75  # below this share of non-zero voxels, zero is background and kept out of the statistics


@dataclass(frozen=True)
class PlanSettings:
    """What the user may fix; None is planned from the data."""

    file: str | None
    """A plan.yaml to take instead, of another run or task; what else is set here replaces its values."""
    spacing: tuple[float, ...] | None
    patch: tuple[int, ...] | None
    batch: int | None
    max_batch: int
    base_width: int
    """Channels at full resolution; they double with every level up to max_width."""
    max_width: int
    max_levels: int
    widths: tuple[int, ...] | None
    strides: tuple[list[int], ...] | None
    kernels: tuple[list[int], ...] | None
    max_patch_voxels: int
    memory_gb: float | None
    """What a training may take; None for what this machine has."""
    normalisation: tuple[str, ...] | None
    """ct, zscore or zscore_nonzero for each channel."""

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        bounds = (("max_batch", 1), ("base_width", 1), ("max_levels", 1), ("max_patch_voxels", 512))
        for name, least in (*bounds, ("batch", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"plan.{name}: got {value}, wanted at least {least}")
        if self.memory_gb is not None and self.memory_gb <= 0:
            raise InputError(f"plan.memory_gb: got {self.memory_gb}, wanted more than 0")
        for name in ("spacing", "patch"):
            value = getattr(self, name)
            if value is not None and (len(value) != 3 or min(value) <= 0):
                raise InputError(f"plan.{name}: got {list(value)}, wanted three positive numbers [D, H, W]")
        for name in ("strides", "kernels"):
            for entry in getattr(self, name) or ():
                if len(entry) != 3 or min(entry) < 1:
                    raise InputError(f"plan.{name}: got {list(entry)}, wanted [D, H, W] for each level")


def make_plan(fingerprint: Fingerprint, task: Task, settings: PlanSettings) -> tuple[Plan, dict[str, str]]:
    """The plan for a data set, and one reason for each of its values.

    Raises:
        InputError: settings that contradict each other or the data.
    """
    reasons: dict[str, str] = {}
    spacing, reasons["spacing"] = _spacing(fingerprint, settings)
    median_mm = [n * mm for n, mm in zip(fingerprint.median_size, fingerprint.median_spacing, strict=True)]
    size = as_size([max(1, round(mm / step)) for mm, step in zip(median_mm, spacing, strict=True)])
    wanted, why = _wanted_patch(size, settings)
    strides, kernels = _levels(wanted, spacing, settings.max_levels)
    reasons["strides"] = "halved while at least 4 voxels stay and no axis is pooled ahead of a coarser one"
    reasons["kernels"] = f"1 along axes over {_COARSE:g} times coarser than the finest at that level"
    if settings.strides is not None:
        strides, kernels, reasons["strides"] = _set_strides(settings.strides, spacing)
    patch = wanted if settings.patch else _round_patch(wanted, strides, whole=wanted == size)
    reasons["patch"] = f"{why}, in multiples of the total stride" if settings.patch is None else why
    batch, reasons["batch"] = _batch(settings)
    normalisation, reasons["normalisation"] = plan_normalisation(fingerprint, task, settings)
    reasons["widths"] = f"plan.base_width {settings.base_width}, doubled per level to {settings.max_width}"
    plan = Plan(
        spacing=spacing,
        patch=patch,
        batch=batch,
        widths=tuple(min(settings.base_width * 2**i, settings.max_width) for i in range(len(strides))),
        strides=strides,
        kernels=kernels,
        normalisation=normalisation,
    )
    return with_set(plan, reasons, settings)


def with_set(plan: Plan, reasons: dict[str, str], settings: PlanSettings) -> tuple[Plan, dict[str, str]]:
    """The plan with the widths and kernels that are set."""
    if settings.widths is not None:
        plan, reasons["widths"] = replace(plan, widths=settings.widths), "set by plan.widths"
    if settings.kernels is not None:
        kernels = tuple(as_size(kernel) for kernel in settings.kernels)
        plan, reasons["kernels"] = replace(plan, kernels=kernels), "set by plan.kernels"
    return plan, reasons


def _set_strides(
    given: tuple[list[int], ...], spacing: Spacing
) -> tuple[tuple[Size, ...], tuple[Size, ...], str]:
    """Strides as set, and the kernels that follow from them."""
    strides = tuple(as_size(stride) for stride in given)
    step, kernels = list(spacing), []
    for stride in strides:
        step = [mm * s for mm, s in zip(step, stride, strict=True)]
        kernels.append(_kernel(step))
    return strides, tuple(kernels), "set by plan.strides"


def _batch(settings: PlanSettings) -> tuple[int, str]:
    if settings.batch is not None:
        return settings.batch, "set by plan.batch"
    return settings.max_batch, f"plan.max_batch {settings.max_batch}"


def _spacing(fingerprint: Fingerprint, settings: PlanSettings) -> tuple[Spacing, str]:
    if settings.spacing is not None:
        return as_spacing(settings.spacing), "set by plan.spacing"
    spacing = list(fingerprint.median_spacing)
    coarse = spacing.index(max(spacing))
    if spacing[coarse] / min(spacing) <= 3:
        return as_spacing(spacing), f"median of {fingerprint.cases} cases"
    finest_other = max(spacing[:coarse] + spacing[coarse + 1 :])
    spacing[coarse] = max(fingerprint.fine_spacing[coarse], finest_other)
    return as_spacing(
        spacing
    ), "median; on the coarse axis the 10th percentile, so that fine scans keep detail"


def _wanted_patch(size: Size, settings: PlanSettings) -> tuple[Size, str]:
    if settings.patch is not None:
        return as_size(settings.patch), "set by plan.patch"
    shrink = min(1.0, (settings.max_patch_voxels / math.prod(size)) ** (1 / 3))
    patch = as_size([max(1, round(n * shrink)) for n in size])
    if shrink == 1.0:
        return patch, f"the median size {list(size)}"
    return patch, f"the median size {list(size)} shrunk to plan.max_patch_voxels {settings.max_patch_voxels}"


def _levels(patch: Size, spacing: Spacing, max_levels: int) -> tuple[tuple[Size, ...], tuple[Size, ...]]:
    """Strides into and kernels of each level."""
    size, step = [float(n) for n in patch], list(spacing)
    strides, kernels = [(1, 1, 1)], [_kernel(step)]
    while len(strides) < max_levels:
        caught_up = [step[axis] <= _COARSE * min(step) for axis in range(3)]
        stride = [2 if size[axis] / 2 >= 4 and caught_up[axis] else 1 for axis in range(3)]
        if stride == [1, 1, 1]:
            break
        size = [n / s for n, s in zip(size, stride, strict=True)]
        step = [mm * s for mm, s in zip(step, stride, strict=True)]
        strides.append(as_size(stride))
        kernels.append(_kernel(step))
    return tuple(strides), tuple(kernels)


def _kernel(step: list[float]) -> Size:
    return as_size([1 if mm > _COARSE * min(step) else 3 for mm in step])


def _round_patch(wanted: Size, strides: tuple[Size, ...], *, whole: bool) -> Size:
    """To a multiple of the total stride: upwards where the whole of a typical scan fits, else the nearest."""
    totals = [math.prod(stride[axis] for stride in strides) for axis in range(3)]
    round_to = math.ceil if whole else round
    return as_size([max(1, round_to(n / total)) * total for n, total in zip(wanted, totals, strict=True)])


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
    pairs = ", ".join(f"{name}: {how}" for name, how in zip(task.modalities, schemes, strict=True))
    return (
        channels,
        f"by modality ({pairs})" if settings.normalisation is None else "set by plan.normalisation",
    )


def _scheme(modality: str, nonzero_share: float) -> str:
    if modality.strip().upper() == "CT":
        return "ct"
    return "zscore" if nonzero_share > _SPARSE else "zscore_nonzero"
