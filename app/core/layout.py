"""A layout: how many output channels of each mixed convolution have which sub-kernel.

A layout file holds data only: `convolutions: {name: {kernel: channels}}`, `provenance` with any keys, and, if
levels and widths were searched too, `network`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.core.errors import InputError
from app.core.files import read_yaml, write_text
from app.core.kernel import Kernel
from app.core.nested import as_lists
from app.core.types import Size, as_size


@dataclass(frozen=True)
class Outline:
    """The levels of a network; entry i of `widths`, `strides` and `kernels` is level i, 0 the finest."""

    widths: tuple[int, ...]
    strides: tuple[Size, ...]
    kernels: tuple[Size, ...]
    """The largest extent of a kernel at each level."""
    decoder_width: float
    """As `model.decoder_width`."""

    @classmethod
    def from_dict(cls, values: Any, where: str) -> "Outline":
        """Rebuild an outline from the values of `dataclasses.asdict`.

        Raises:
            InputError: a key is missing or unknown, or a value is of another form.
        """
        try:
            found = cls(
                widths=tuple(int(width) for width in values["widths"]),
                strides=tuple(as_size(stride) for stride in values["strides"]),
                kernels=tuple(as_size(kernel) for kernel in values["kernels"]),
                decoder_width=float(values["decoder_width"]),
            )
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise InputError(
                f"{where}: network: wanted widths, strides, kernels and decoder_width, got {_shown(values)}"
            ) from error
        if not len(found.widths) == len(found.strides) == len(found.kernels):
            raise InputError(f"{where}: network: wanted one width, stride and kernel for each level")
        return found


@dataclass(frozen=True)
class Layout:
    """A layout: for each named convolution, the output channels per sub-kernel, in order."""

    convolutions: Mapping[str, Mapping[Kernel, int]]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    network: Outline | None = None
    """The levels that it belongs to, if they were searched too."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain strings and numbers, as in the file."""
        named = {
            name: {str(kernel): channels for kernel, channels in groups.items()}
            for name, groups in self.convolutions.items()
        }
        found = {"provenance": dict(self.provenance), "convolutions": named}
        return found if self.network is None else {**found, "network": as_lists(asdict(self.network))}

    @classmethod
    def from_dict(cls, values: Any, where: str = "layout") -> "Layout":
        """Rebuild a layout from `to_dict` and check every value; `where` begins the messages.

        Raises:
            InputError: the values do not have the form above, or a channel count is below 1.
        """
        if not isinstance(values, dict) or set(values) - {"provenance", "convolutions", "network"}:
            raise InputError(
                f"{where}: wanted the keys convolutions, provenance and network, got {_shown(values)}"
            )
        named = values.get("convolutions")
        if not isinstance(named, dict) or not named:
            raise InputError(
                f"{where}: convolutions: wanted {{name: {{kernel: channels}}}}, got {_shown(named)}"
            )
        provenance = values.get("provenance") or {}
        network = values.get("network")
        return cls(
            {str(name): _groups(groups, f"{where}: {name}") for name, groups in named.items()},
            provenance,
            None if network is None else Outline.from_dict(network, where),
        )


def read_layout(path: Path) -> Layout:
    """Read a layout file; nothing in it is executed.

    Raises:
        InputError: the file is missing or is not a layout.
    """
    return Layout.from_dict(read_yaml(path), str(path))


def write_layout(path: Path, layout: Layout) -> None:
    """Write a layout with one line per convolution, so that files are easy to read and compare."""
    write_text(path, yaml.safe_dump(layout.to_dict(), sort_keys=False, default_flow_style=None, width=200))


def _groups(groups: Any, where: str) -> dict[Kernel, int]:
    if not isinstance(groups, dict) or not groups:
        raise InputError(f"{where}: wanted {{kernel: channels}}, got {_shown(groups)}")
    for kernel, channels in groups.items():
        if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
            raise InputError(
                f"{where}: {kernel}: wanted a positive number of channels, got {_shown(channels)}"
            )
    return {Kernel.parse(str(kernel), where): channels for kernel, channels in groups.items()}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."
