"""Inputs and outputs of a network's convolutions at random places of some patches."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS_PER_FEATURE = 4
"""A least-squares fit with fewer rows per feature overfits."""


@dataclass(frozen=True)
class Rows:
    """The inputs (channel, row, tap) and outputs (row, out) of one convolution, in single precision."""

    inputs: Tensor
    outputs: Tensor


@torch.no_grad()
def sample_rows(
    network: nn.Module,
    convs: Mapping[str, nn.Conv3d],
    patches: Sequence[Tensor],
    *,
    rows: int,
    seed: int,
    per_feature: int = 0,
) -> dict[str, Rows]:
    """Return about `rows` rows of each convolution in the order in which the network computes them.

    At least `per_feature` rows per feature (input channel and tap) are returned, but no voxel twice if there
    are too few. The places depend on the seed only. Each forward pass stops after the last convolution in
    `convs`.
    """
    found: dict[str, list[Rows]] = {}
    wanted = {
        name: math.ceil(max(rows, per_feature * conv.weight[0].numel()) / len(patches))
        for name, conv in convs.items()
    }
    for number, patch in enumerate(patches):
        look = _Look(found, number + 1, wanted, seed=1000 * seed + number)
        hooks = [conv.register_forward_hook(partial(look, name)) for name, conv in convs.items()]
        with suppress(_SeenAll):
            network(patch.contiguous(memory_format=torch.channels_last_3d))
        for hook in hooks:
            hook.remove()
    return {name: _joined(parts) for name, parts in found.items()}


class _Look:
    """A hook that stores the rows of one convolution in one patch, and stops the pass after the last one."""

    def __init__(
        self, found: dict[str, list[Rows]], passes: int, rows: Mapping[str, int], *, seed: int
    ) -> None:
        """Store `rows` rows by convolution; `passes` counts the passes from the first to this one."""
        self.found, self.passes, self.rows, self.seed = found, passes, rows, seed

    def __call__(self, name: str, conv: nn.Module, x: tuple[Tensor], y: Tensor) -> None:
        assert isinstance(conv, nn.Conv3d)
        generator = torch.Generator().manual_seed(self.seed)
        extents = [y.shape[0], *y.shape[2:]]
        rows = self.rows[name]
        if rows < math.prod(extents):
            places = torch.stack([torch.randint(n, (rows,), generator=generator) for n in extents], dim=1)
        else:
            places = torch.cartesian_prod(*(torch.arange(n) for n in extents))
        outputs = y.movedim(1, -1)[tuple(places.T)]
        self.found.setdefault(name, []).append(Rows(taps(x[0], conv, places), outputs))
        if [len(parts) for parts in self.found.values()] == [self.passes] * len(self.rows):
            raise _SeenAll


def taps(x: Tensor, conv: nn.Conv3d, places: Tensor) -> Tensor:
    """Return a convolution's inputs (channel, row, tap) at output places (row, [b, d, h, w])."""
    assert not isinstance(conv.padding, str)
    padded = F.pad(x, [pad for pad in reversed(conv.padding) for _ in (0, 1)])
    facts = zip(conv.kernel_size, conv.stride, conv.dilation, places.T[1:], strict=True)
    depth, height, width = (p[:, None] * step + torch.arange(k) * apart for k, step, apart, p in facts)
    sample = places[:, 0, None, None, None]
    seen = padded.movedim(1, -1)[
        sample, depth[:, :, None, None], height[:, None, :, None], width[:, None, None, :]
    ]  # (row, kd, kh, kw, channel)
    return seen.flatten(1, 3).permute(2, 0, 1)


class _SeenAll(Exception):
    """A signal that all wanted convolutions have been seen; it stops the forward pass."""


def _joined(parts: Sequence[Rows]) -> Rows:
    return Rows(torch.cat([p.inputs for p in parts], dim=1), torch.cat([p.outputs for p in parts]))
