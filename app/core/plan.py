"""A plan: everything about preparing and network size that follows from the data, with reasons."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from app.core.errors import InputError
from app.core.files import write_text
from app.core.types import Size, Spacing, as_size, as_spacing

_EARLIER: dict[str, Any] = {
    "foreground_share": 0.5,
    "steps": 2000,
    "brightest": [],
    "mirror": None,
    "oriented": True,
    "locate": None,
    "minutes": None,
    "augment": 1.0,
}
"""What trainings took before plans said it, of a batch of two one patch; older plans are read with these."""


@dataclass(frozen=True)
class Normalisation:
    """How one image channel becomes numbers around zero.

    `ct`: clip to [low, high], subtract mean, divide by std, all from the data set's foreground.
    `zscore`: mean and std of the image itself. `zscore_nonzero`: of its non-zero voxels, which alone change.
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
    """What a data set asks for; entry i of `widths`, `strides` and `kernels` is level i, 0 the finest."""

    spacing: Spacing
    patch: Size
    batch: int
    widths: tuple[int, ...]
    strides: tuple[Size, ...]
    kernels: tuple[Size, ...]
    normalisation: tuple[Normalisation, ...]
    foreground_share: float
    """Of all patches of a training, centred on foreground."""
    steps: int
    """Of the optimizer, in a whole training."""
    brightest: tuple[tuple[float, float], ...] = ()
    """Of each channel the 99.5 percentile of the foreground, in the darkest and in the brightest case.

    Changes no voxel; tells a scan that is far off."""
    mirror: tuple[int, ...] | None = None
    """The value that each label value has in an image mirrored left to right; empty: nothing is so mirrored.

    None in plans of before, where labels kept their values."""
    oriented: bool = True
    """Whether the headers of all scans say how they lie; a stack of thick slices is turned any way if not."""
    locate: "Plan | None" = None
    """A first stage, whose network sees whole scans coarsely and finds the region that this one works in."""
    minutes: float | None = None
    """What the whole command is foretold to take on the machine that planned it; None where nobody asked."""
    augment: float = 1.0
    """What the chances of augmentation are multiplied by, unless augment.strength is set."""

    def __post_init__(self) -> None:
        """Refuse a plan from which no network can be built or trained."""
        if not 0 <= self.foreground_share <= 1:
            raise InputError(f"plan.foreground_share: got {self.foreground_share}, wanted from 0 to 1")
        if self.steps < 1:
            raise InputError(f"plan.steps: got {self.steps}, wanted at least 1")
        if not len(self.widths) == len(self.strides) == len(self.kernels):
            raise InputError(
                f"plan: widths, strides and kernels need one entry a level, "
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
        """Voxels of the patch that one voxel of the deepest level stands for."""
        depth = height = width = 1
        for stride in self.strides:
            depth, height, width = depth * stride[0], height * stride[1], width * stride[2]
        return depth, height, width

    @property
    def swapped(self) -> tuple[int, ...]:
        """`mirror` where some labels change places, empty where all keep their values."""
        return self.mirror if self.mirror and self.mirror != tuple(range(len(self.mirror))) else ()

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """The inverse of `to_dict`; also reads what was written before plans said how long to train.

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
            augment=float(values["augment"]),
        )


def write_plan(path: Path, plan: Plan, reasons: Mapping[str, str]) -> None:
    """Write plan.yaml: each value with the reason it was chosen."""
    entries = {name: {"value": value, "reason": reasons[name]} for name, value in plan.to_dict().items()}
    write_text(path, yaml.safe_dump(entries, sort_keys=False, default_flow_style=None, width=110))


def read_plan(path: Path) -> tuple[Plan, dict[str, str]]:
    """Read plan.yaml and its reasons.

    Raises:
        InputError: the file is missing or is no plan.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        plan = Plan.from_dict({name: entry["value"] for name, entry in entries.items()})
        reasons = {name: str(entry["reason"]) for name, entry in entries.items()}
    except FileNotFoundError:
        raise InputError(f"{path}: no such plan") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a plan ({error!r})") from None
    return plan, {**dict.fromkeys(_EARLIER, "usual when this plan was made"), **reasons}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
