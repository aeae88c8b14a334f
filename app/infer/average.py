"""The mean of logits over several networks and over mirror images of their windows."""

from collections.abc import Sequence
from itertools import chain, combinations

import torch
from torch import Tensor

from app.infer.confidence import Agreement
from app.infer.engines.engine import Engine
from app.infer.labels import certainty_of, labels_of

Axes = tuple[int, ...]


class Average:
    """An engine made of others: every member sees every mirror image of a window.

    With `certain`, windows whose every voxel has a label of at least that probability after the members'
    first look take no mirror images. Where there are several passes, `agreement` counts how far they agree.
    """

    def __init__(
        self,
        members: Sequence[Engine],
        *,
        mirror_axes: Axes = (),
        certain: float | None = None,
        agreement: Agreement | None = None,
    ) -> None:
        assert members
        self._members = tuple(members)
        self._mirrors = mirrors(mirror_axes)
        self._certain = certain
        self._agreement = agreement

    @torch.inference_mode()
    def __call__(self, windows: Tensor) -> Tensor:
        """(B, C, D, H, W) -> mean logits (B, L, D, H, W)."""
        if self._certain is None or len(self._mirrors) == 1:
            return self._mean(windows, self._mirrors)
        first = self._mean(windows, self._mirrors[:1])
        open_ = self._uncertain(first)
        if open_.any():
            rest = self._mean(windows[open_.to(windows.device)], self._mirrors[1:])
            first[open_] += (rest - first[open_]) * (1 - 1 / len(self._mirrors))
        return first

    def _mean(self, windows: Tensor, mirrored: Sequence[Axes]) -> Tensor:
        total: Tensor | None = None
        votes = []
        for axes in mirrored:
            turned = windows.flip(axes) if axes else windows
            for member in self._members:
                logits = member(turned)
                logits = logits.flip(axes) if axes else logits
                if self._agreement is not None:
                    votes.append(labels_of(logits.movedim(1, 0)))
                total = logits if total is None else total.add_(logits)
        assert total is not None
        if len(mirrored) * len(self._members) > 1:
            total /= len(mirrored) * len(self._members)
            if self._agreement is not None:
                self._agreement.count(votes, labels_of(total.movedim(1, 0)))
        return total

    def _uncertain(self, logits: Tensor) -> Tensor:
        """Which windows of (B, L, D, H, W) have a voxel below `certain`; (B,) of bool."""
        return certainty_of(logits.movedim(1, 0)).flatten(1).amin(dim=1) < (self._certain or 0)


def mirrors(axes: Axes) -> list[Axes]:
    """Every subset of the axes of (D, H, W), the empty one first, as axes of (B, C, D, H, W)."""
    subsets = chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1))
    return [tuple(axis + 2 for axis in subset) for subset in subsets]
