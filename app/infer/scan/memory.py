"""A limit on the memory of the process, and what it means for the way a volume is gone through.

A volume is cut into parts along H only when its logits would not fit otherwise: windows on a cut run twice.
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
_SHARE = 0.8  # of the memory that is free
_PIECES = 4  # tensors of a piece that restoring holds at once: both neighbours, their mean, its meaning
_ACTIVATIONS = 8  # feature maps of the first level's width that a U-Net's pass holds at its widest
_LOGITS = 3  # of a batch of windows at once: a pass, its mirror image, the sum


def require(more: int, limit_gb: float | None, what: str) -> None:
    """Raise InputError unless `more` bytes fit under the limit."""
    wanted = (resident_bytes() + more) / 1e9
    if limit_gb is not None and wanted > limit_gb:
        raise InputError(
            f"predict.memory_gb: got {limit_gb:g} GB, {what} needs {math.ceil(wanted * 10) / 10:g} GB; "
            "set that, or give a smaller scan"
        )


def free_gb() -> float:
    """What this process may hold without the machine running out of memory."""
    free = min(psutil.virtual_memory().available, memory_bytes() - resident_bytes())
    return (resident_bytes() + _SHARE * max(free, 0)) / 1e9


def gpu_free_gb(device: torch.device) -> float:
    """The same of a GPU, as if it held what the host's part of this process holds."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return (resident_bytes() + _SHARE * (free_bytes(device) + kept)) / 1e9


def pass_bytes(windows: Windows, plans: Sequence[Plan], *, classes: int) -> int:
    """What a forward pass over a batch of windows holds, by the width of the first level."""
    voxels = windows.at_once * math.prod(windows.size)
    return _FLOAT * voxels * (_ACTIVATIONS * max(plan.widths[0] for plan in plans) + _LOGITS * classes)


def belt_bytes(windows: Windows, height: int, *, classes: int) -> int:
    """Logits and weights held while windows move on, for `height` rows of H."""
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
    """The fewest parts of `height` rows of the scan whose logits fit under the limit beside `fixed` bytes.

    At least `least` parts, at most one for each row of windows. `needs` gives the rows of the network's grid
    that a part takes. Without a limit, what is free counts, and the most parts are returned if none fit.

    Raises:
        InputError: not even single windows fit under the limit; says how much would.
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
    require(most, limit_gb, "the network's pass and the logits of one row of windows")
    return cuts
