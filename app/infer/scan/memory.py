"""The memory limit of the process: it decides whether a volume is processed in parts.

A volume is cut into parts along H only if its logits would not fit otherwise, because windows on a cut run
twice.
"""

import math
from collections.abc import Callable, Sequence

import psutil
import torch

from app.core.errors import InputError
from app.core.machine import memory_bytes, resident_bytes
from app.core.plan import Plan
from app.infer.scan.restore import PIECE_VALUES
from app.infer.window.windows import Windows
from app.layers.device_policy import free_bytes

_FLOAT = 4  # bytes
_SHARE = 0.8  # share of the free memory that may be used
_PIECES = 4  # tensors of a piece that restoring holds at once: two neighbours, their mean, the decoded piece
_ACTIVATIONS = 8  # most feature maps of the first level's width that a forward pass of a U-Net holds at once
_LOGITS = 3  # logits of a batch of windows held at once: one pass, its mirror image, the sum


def require_memory(more: int, limit_gb: float | None, work: str) -> None:
    """Raise InputError if `more` bytes, on top of those already used, exceed the limit."""
    wanted = (resident_bytes() + more) / 1e9
    if limit_gb is not None and wanted > limit_gb:
        raise InputError(
            f"predict.memory_gb: got {limit_gb:g} GB, {work} needs {math.ceil(wanted * 10) / 10:g} GB; "
            "set that, or give a smaller scan"
        )


def free_gb() -> float:
    """Return the memory in GB that this process may hold in total, given the memory that is free."""
    free = min(psutil.virtual_memory().available, memory_bytes() - resident_bytes())
    return (resident_bytes() + _SHARE * max(free, 0)) / 1e9


def gpu_free_gb(device: torch.device) -> float:
    """Return the free memory of a GPU in GB, plus the host memory that this process holds.

    `cut_rows` subtracts the latter.
    """
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return (resident_bytes() + _SHARE * (free_bytes(device) + kept)) / 1e9


def pass_bytes(windows: Windows, plans: Sequence[Plan], *, classes: int, stacks: int = 1) -> int:
    """Return the bytes that a forward pass over a batch of windows holds, by the width of the first level.

    The feature maps of windows in several `stacks` are those of one stack at a time.
    """
    voxels = windows.at_once * math.prod(windows.size)
    maps = math.ceil(_ACTIVATIONS * max(plan.widths[0] for plan in plans) / stacks)
    return _FLOAT * voxels * (maps + _LOGITS * classes)


def belt_bytes(windows: Windows, height: int, *, classes: int) -> int:
    """Return the bytes of the logits and weights that a layer of windows holds, for `height` rows of H."""
    width = max(windows.volume[2], windows.size[2])
    return _FLOAT * (classes + 1) * windows.size[0] * height * width


def cut_rows(
    height: int,
    needs: Callable[[range], range],
    windows: Windows,
    *,
    classes: int,
    fixed: int,
    limit_gb: float | None,
    free_gb: float,
    least: int = 1,
) -> list[range]:
    """Return the fewest parts of `height` rows whose logits fit under the limit together with `fixed` bytes.

    There are at least `least` parts and at most one per row of windows. `needs` gives the rows of the
    network's grid that a part of the scan's rows needs. Without a limit, `free_gb` is the limit, and the
    largest number of parts is returned even if they do not fit.

    Raises:
        InputError: not even single windows fit under the limit; the message has the memory needed.
    """
    fixed += _PIECES * _FLOAT * PIECE_VALUES
    allowed = 1e9 * (free_gb if limit_gb is None else limit_gb) - resident_bytes()
    rows = len(windows.starts[1])
    for parts in range(min(least, rows), rows + 1):
        step = math.ceil(height / parts)
        cuts = [range(first, min(first + step, height)) for first in range(0, height, step)]
        most = fixed + max(belt_bytes(windows, len(needs(cut)), classes=classes) for cut in cuts)
        if most <= allowed:
            return cuts
    require_memory(most, limit_gb, "the network's pass and the logits of one row of windows")
    return cuts
