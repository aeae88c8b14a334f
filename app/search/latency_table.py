"""Milliseconds of a group of channels, measured on the machine and device that will run the network.

Fewer multiply-adds do not always take fewer milliseconds: narrow groups are padded to a vector register, and
small kernels wait for memory. Therefore each combination of convolution shape, kernel and number of channels
is timed once, and the time is stored in a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.core.kernel import Kernel
from app.core.progress import progress_bar
from app.layers.convolution import dense_conv
from app.layers.device_policy import laid_out
from app.layers.latency import latency_ms
from app.models.network import to_device
from app.operators.operator import ConvSpec
from app.search.costs import Site

Machine = Mapping[str, Any]
_RUNS = 9
_EARLIER = {"device": "cpu"}
"""The device of tables that do not name it, from earlier versions."""


@dataclass(frozen=True)
class LatencyCost:
    """Measured milliseconds of a forward pass over one patch, by shape, kernel and channels."""

    machine: Machine
    ms: Mapping[str, Mapping[int, float]]
    name = "latency"
    linear = False

    def group(self, conv: ConvSpec, kernel: Kernel, channels: int) -> float:
        """Return the milliseconds; they are interpolated linearly between measured numbers of channels."""
        if channels == 0:
            return 0.0
        known = self.ms[_key(conv, kernel)]
        counts = sorted(known)
        return float(np.interp(channels, counts, [known[count] for count in counts]))


def latency_costs(
    path: Path, sites: Sequence[Site], *, align: int, machine: Machine, device: torch.device
) -> LatencyCost:
    """Return the costs in the file, after measuring and adding those that it lacks for these convolutions.

    Raises:
        InputError: the file is from another machine, or is not a latency table.
    """
    known = _read(path, machine) if path.is_file() else {}
    wanted = _wanted(sites, align)
    missing = {
        key: (spec, [count for count in counts if count not in known.get(key, {})])
        for key, (spec, counts) in wanted.items()
    }
    lacking = [(key, *spec, count) for key, (spec, counts) in missing.items() for count in counts]
    found = _measure(lacking, device)
    for (key, count), ms in found.items():
        known.setdefault(key, {})[count] = ms
    if found:
        table = {key: {str(count): ms for count, ms in sorted(of.items())} for key, of in known.items()}
        write_json(path, {"machine": dict(machine), "ms": table})
    return LatencyCost(machine, known)


def _wanted(sites: Sequence[Site], align: int) -> dict[str, tuple[tuple[ConvSpec, Kernel], list[int]]]:
    wanted = {}
    for site in sites:
        conv = site.conv
        counts = sorted({*range(align, conv.out_channels, align), conv.out_channels})
        for kernel in dict.fromkeys((*site.kernels, Kernel(conv.kernel))):
            wanted[_key(conv, kernel)] = ((conv, kernel), counts)
    return wanted


def _measure(
    wanted: Sequence[tuple[str, ConvSpec, Kernel, int]], device: torch.device
) -> dict[tuple[str, int], float]:
    """Return the median milliseconds of each group."""
    if not wanted:
        return {}
    found = {}
    with progress_bar("Timing kernels", len(wanted)) as advance:
        for key, conv, kernel, count in wanted:
            assert conv.size is not None, "latency is measured on a network whose patch is known"
            module = to_device(_Group(conv, kernel, count), device)
            found[key, count] = latency_ms(module, (1, conv.in_channels, *conv.size), runs=_RUNS)
            advance()
    return found


class _Group(nn.Module):
    """A group of a mixed convolution, with the copy of its channels into the map of all groups."""

    def __init__(self, conv: ConvSpec, kernel: Kernel, channels: int) -> None:
        super().__init__()
        self.conv, self.width = dense_conv(conv.in_channels, channels, kernel, conv.stride), conv.out_channels
        self.joined: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to (B, width, D/s, H/s, W/s), of which the first channels are the group's."""
        y: Tensor = self.conv(x)
        if y.shape[1] == self.width:
            return y
        if self.joined is None:
            self.joined = laid_out(y.new_zeros(len(y), self.width, *y.shape[2:]))
        self.joined[:, : y.shape[1]] = y
        return self.joined


def _read(path: Path, machine: Machine) -> dict[str, dict[int, float]]:
    content = read_json(path)
    if not isinstance(content, dict) or set(content) != {"machine", "ms"}:
        raise InputError(f"{path}: wanted a latency table with the keys machine and ms")
    if {**_EARLIER, **content["machine"]} != dict(machine):
        raise InputError(
            f"{path}: measured on {content['machine']}, this machine is {dict(machine)}; "
            "remove the file or set search.latency_table to another"
        )
    return {key: {int(count): float(ms) for count, ms in of.items()} for key, of in content["ms"].items()}


def _key(conv: ConvSpec, kernel: Kernel) -> str:
    size = "x".join(map(str, conv.size or ()))
    stride = "x".join(map(str, conv.stride))
    return f"in {conv.in_channels}, of {conv.out_channels}, kernel {kernel}, stride {stride}, size {size}"
