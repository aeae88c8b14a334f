"""A plan: the settings of preparation, network and training that follow from the data, with reasons."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from app.core.errors import InputError
from app.core.files import read_yaml, write_text
from app.core.nested import as_lists
from app.core.types import Size, Spacing, as_size, as_spacing

_EARLIER: dict[str, Any] = {
    "foreground_share": 0.5,
    "steps": 2000,
    "brightest": [],
    "mirror": None,
    "oriented": True,
    "locate": None,
    "minutes": None,
    "train_minutes": None,
    "augment": 1.0,
}
"""Values for keys that older plans lack: those that training used when the plans were made."""


@dataclass(frozen=True)
class Normalisation:
    """The normalisation of one image channel.

    `ct`: clip to [low, high], subtract mean, divide by std; all four come from the data set's foreground.
    `zscore`: subtract the image's own mean and divide by its own std. `zscore_nonzero`: the same, computed
    from the non-zero voxels and applied to them only.
    """

    scheme: str
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        """Validate the scheme."""
        if self.scheme not in ("ct", "zscore", "zscore_nonzero"):
            raise InputError(f"normalisation: got {self.scheme!r}, wanted ct, zscore or zscore_nonzero")


@dataclass(frozen=True)
class Plan:
    """The planned settings of a data set.

    Entry i of `widths`, `strides` and `kernels` belongs to level i of the network; level 0 is the finest.
    """

    spacing: Spacing
    patch: Size
    batch: int
    widths: tuple[int, ...]
    strides: tuple[Size, ...]
    kernels: tuple[Size, ...]
    normalisation: tuple[Normalisation, ...]
    foreground_share: float
    """Share of training patches that are centred on foreground."""
    steps: int
    """Optimizer steps in a full training run."""
    brightest: tuple[tuple[float, float], ...] = ()
    """Per channel, the 99.5th percentile of the scan in the darkest and in the brightest case.

    Changes no voxel; used to warn about scans with unusual intensities."""
    mirror: tuple[int, ...] | None = None
    """The label value that each label value becomes in a left-right mirrored image; empty: no such mirroring.

    None in older plans, for which labels keep their values."""
    oriented: bool = True
    """Whether the headers of all scans give their orientation; if not, stacks of thick slices are augmented
    with any rotation."""
    locate: "Plan | None" = None
    """The plan of a first stage, which finds the region to segment in whole scans at coarse resolution; None
    without a first stage."""
    minutes: float | None = None
    """Predicted minutes of the whole command on the machine that planned it; None if not requested."""
    train_minutes: float | None = None
    """Predicted minutes of these steps with their validation; None if time was not planned."""
    augment: float = 1.0
    """Factor on the probabilities of augmentation, unless augment.strength is set."""

    def __post_init__(self) -> None:
        """Validate the values from which a network is built and trained."""
        if not 0 <= self.foreground_share <= 1:
            raise InputError(f"plan.foreground_share: got {self.foreground_share}, wanted from 0 to 1")
        if self.steps < 1:
            raise InputError(f"plan.steps: got {self.steps}, wanted at least 1")
        if not len(self.widths) == len(self.strides) == len(self.kernels):
            raise InputError(
                f"plan: widths, strides and kernels need one entry per level, "
                f"got {len(self.widths)}, {len(self.strides)} and {len(self.kernels)}"
            )
        for axis, size in enumerate(self.patch):
            total = self.total_stride[axis]
            if size < total or size % total:
                raise InputError(
                    f"plan.patch: got {size} voxels on axis {'DHW'[axis]}, "
                    f"wanted a multiple of the total stride {total}"
                )

    @property
    def total_stride(self) -> Size:
        """Voxels of the patch per voxel of the deepest level."""
        depth = height = width = 1
        for stride in self.strides:
            depth, height, width = depth * stride[0], height * stride[1], width * stride[2]
        return depth, height, width

    @property
    def swapped(self) -> tuple[int, ...]:
        """`mirror` if it changes any label value, else empty."""
        return self.mirror if self.mirror and self.mirror != tuple(range(len(self.mirror))) else ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain lists, numbers and strings."""
        values: dict[str, Any] = as_lists(asdict(self))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """Rebuild a plan from `to_dict`; keys that older plans lack get the values used then.

        Raises:
            InputError: a key is missing or unknown.
        """
        values = {**_EARLIER, **values}
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise InputError(f"plan: got keys {sorted(values)}, wanted {sorted(known)}")
        return cls(
            spacing=as_spacing(values["spacing"]),
            patch=as_size(values["patch"]),
            batch=int(values["batch"]),
            widths=tuple(int(width) for width in values["widths"]),
            strides=tuple(as_size(stride) for stride in values["strides"]),
            kernels=tuple(as_size(kernel) for kernel in values["kernels"]),
            normalisation=tuple(Normalisation(**channel) for channel in values["normalisation"]),
            foreground_share=float(values["foreground_share"]),
            steps=int(values["steps"]),
            brightest=tuple((float(low), float(high)) for low, high in values["brightest"]),
            mirror=None if values["mirror"] is None else tuple(int(value) for value in values["mirror"]),
            oriented=bool(values["oriented"]),
            locate=None if values["locate"] is None else cls.from_dict(values["locate"]),
            minutes=None if values["minutes"] is None else float(values["minutes"]),
            train_minutes=None if values["train_minutes"] is None else float(values["train_minutes"]),
            augment=float(values["augment"]),
        )


def write_plan(path: Path, plan: Plan, reasons: Mapping[str, str]) -> None:
    """Write plan.yaml: each value with the reason for it."""
    entries = {name: {"value": value, "reason": reasons[name]} for name, value in plan.to_dict().items()}
    write_text(path, yaml.safe_dump(entries, sort_keys=False, default_flow_style=None, width=110))


def read_plan(path: Path) -> tuple[Plan, dict[str, str]]:
    """Read plan.yaml; return the plan and the reason for each value.

    Raises:
        InputError: the file is missing or is not a plan.
    """
    entries = read_yaml(path)
    try:
        plan = Plan.from_dict({name: entry["value"] for name, entry in entries.items()})
        reasons = {name: str(entry["reason"]) for name, entry in entries.items()}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a plan ({error!r})") from None
    return plan, {**dict.fromkeys(_EARLIER, "usual when this plan was made"), **reasons}
