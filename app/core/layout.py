"""A layout: how many output channels of each mixed convolution have which sub-kernel.

A layout file holds data only: `convolutions: {name: {kernel: channels}}`, and `provenance` with any keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.core.errors import InputError
from app.core.files import write_text
from app.core.kernel import Kernel


@dataclass(frozen=True)
class Layout:
    """A layout: for each named convolution, the output channels per sub-kernel, in order."""

    convolutions: Mapping[str, Mapping[Kernel, int]]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain strings and numbers, as in the file."""
        named = {
            name: {str(kernel): channels for kernel, channels in groups.items()}
            for name, groups in self.convolutions.items()
        }
        return {"provenance": dict(self.provenance), "convolutions": named}

    @classmethod
    def from_dict(cls, values: Any, where: str = "layout") -> "Layout":
        """Rebuild a layout from `to_dict` and check every value; `where` begins the messages.

        Raises:
            InputError: the values do not have the form above, or a channel count is below 1.
        """
        if not isinstance(values, dict) or set(values) - {"provenance", "convolutions"}:
            raise InputError(f"{where}: wanted the keys convolutions and provenance, got {_shown(values)}")
        named = values.get("convolutions")
        if not isinstance(named, dict) or not named:
            raise InputError(
                f"{where}: convolutions: wanted {{name: {{kernel: channels}}}}, got {_shown(named)}"
            )
        provenance = values.get("provenance") or {}
        return cls(
            {str(name): _groups(groups, f"{where}: {name}") for name, groups in named.items()}, provenance
        )


def read_layout(path: Path) -> Layout:
    """Read a layout file; nothing in it is executed.

    Raises:
        InputError: the file is missing or is not a layout.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such layout") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML data ({' '.join(str(error).split())})") from None
    return Layout.from_dict(values, str(path))


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
