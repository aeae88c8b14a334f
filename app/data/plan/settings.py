"""The settings of section `plan`."""

from dataclasses import dataclass
from typing import Any

from app.core.errors import InputError

MAX_PATCH_VOXELS = 100_000  # bounds time and memory of a step if neither is planned
_DEVICE = {"kind", "memory_gb", "gmac_per_s"}
# Channels of the finest level, and of the deepest at most; those for GPUs are nnU-Net's.
_CPU_WIDTHS, _GPU_WIDTHS = (16, 128), (32, 320)


@dataclass(frozen=True)
class PlanSettings:
    """The settings of section `plan`; a value of None is planned from the data."""

    file: str | None
    """A plan.yaml of another run or task to reuse; see `reuse_plan` for the settings that override it."""
    spacing: tuple[float, ...] | None
    patch: tuple[int, ...] | None
    batch: int | None
    max_batch: int
    base_width: int | None
    """Channels at full resolution, doubled at every level up to max_width; None depends on the device."""
    max_width: int | None
    max_levels: int
    widths: tuple[int, ...] | None
    strides: tuple[list[int], ...] | None
    kernels: tuple[list[int], ...] | None
    max_patch_voxels: int | None
    """Most voxels of a patch; None for as many as time allows, or MAX_PATCH_VOXELS if time is not planned."""
    memory_gb: float | None
    """Memory that a training may take, in GB; None for the memory of this machine."""
    normalisation: tuple[str, ...] | None
    """Scheme of each channel: ct, zscore or zscore_nonzero."""
    foreground_share: float | None
    mirror: Any
    """Pairs of label values that are swapped in a mirror image; true for no pairs, false for no mirroring."""
    steps: int | None
    passes: int
    """Passes over all scans in a training whose time is not planned."""
    max_steps: int
    minutes: Any
    """Minutes from the command's start to its summary; auto depends on the device, None plans no time."""
    stages: int | None
    """1, or 2 for a first stage that finds the region around the labels; None for whichever is better."""
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
        """Most voxels of a patch, as set or MAX_PATCH_VOXELS."""
        return self.max_patch_voxels or MAX_PATCH_VOXELS

    @property
    def finest_width(self) -> int:
        """Channels at full resolution."""
        return self.base_width or (_GPU_WIDTHS if self.on_gpu else _CPU_WIDTHS)[0]

    @property
    def widest(self) -> int:
        """Most channels of any level."""
        return self.max_width or (_GPU_WIDTHS if self.on_gpu else _CPU_WIDTHS)[1]

    @property
    def on_gpu(self) -> bool:
        """Whether the plan is for a GPU."""
        return self.device is not None and self.device["kind"] == "cuda"
