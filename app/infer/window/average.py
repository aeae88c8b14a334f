"""The mean of logits over several networks and over mirror images of windows."""

from collections.abc import Sequence
from itertools import chain, combinations

import torch
from torch import Tensor

from app.infer.engines.engine import Engine
from app.infer.window.confidence import Agreement
from app.infer.window.decode import certainty_of

Axes = tuple[int, ...]

_LEFT_RIGHT = 4  # the axis of (B, C, D, H, W) that runs to the right


class Average:
    """A group of engines that runs as one: the mean logits of all members over mirror images of a window.

    Every window is seen in all mirror images, or only in that of its phase with `alternate`. With
    `certain`, it is first seen in one image; if the label of every voxel then has at least this probability,
    no other image is used, else all are. `swapped` has the label that each label becomes if left and right
    are mirrored; empty keeps all labels. `agreement` measures how far each pass agrees with the mean of those
    before it.
    """

    def __init__(
        self,
        members: Sequence[Engine],
        *,
        mirror_axes: Axes = (),
        swapped: Sequence[int] = (),
        alternate: bool = False,
        certain: float | None = None,
        agreement: Agreement | None = None,
    ) -> None:
        assert members
        self._members = tuple(members)
        self._mirrors = mirrors(mirror_axes)
        self._swapped = list(swapped)
        self._alternate = alternate
        self._certain = certain
        self.agreement = agreement

    @property
    def phases(self) -> int:
        """Number of phases: one for each mirror image if windows alternate, else one."""
        return len(self._mirrors) if self._alternate else 1

    @torch.inference_mode()
    def __call__(self, windows: Tensor, phase: int = 0) -> Tensor:
        """Return the mean logits (B, L, D, H, W) of windows (B, C, D, H, W).

        `phase`, from 0 to `phases` - 1, is the index of the mirror image that is used first.
        """
        first, *others = *self._mirrors[phase:], *self._mirrors[:phase]
        if not others or (self._alternate and self._certain is None):
            return self._mean(windows, [first])
        if self._certain is None:
            return self._mean(windows, [first, *others])
        logits = self._mean(windows, [first])
        open_ = self._uncertain(logits)
        if open_.any():
            rest = self._mean(windows[open_.to(windows.device)], others)
            logits[open_] += (rest - logits[open_]) * (1 - 1 / len(self._mirrors))
        return logits

    def _mean(self, windows: Tensor, mirrored: Sequence[Axes]) -> Tensor:
        total: Tensor | None = None
        for axes in mirrored:
            mirrored_windows = windows.flip(axes) if axes else windows
            for member in self._members:
                logits = member(mirrored_windows)
                logits = self._mirrored_back(logits, axes)
                if total is None:
                    total = logits
                    continue
                if self.agreement is not None:
                    self.agreement.compare(logits.movedim(1, 0), total.movedim(1, 0))
                total.add_(logits)
        assert total is not None
        passes = len(mirrored) * len(self._members)
        return total.div_(passes) if passes > 1 else total

    def _mirrored_back(self, logits: Tensor, axes: Axes) -> Tensor:
        """Return the logits (B, L, D, H, W) of an image mirrored along `axes`, as for the image itself."""
        if not axes:
            return logits
        logits = logits.flip(axes)
        return (
            logits[:, self._swapped[: logits.shape[1]]] if self._swapped and _LEFT_RIGHT in axes else logits
        )

    def _uncertain(self, logits: Tensor) -> Tensor:
        """Return whether each window of logits (B, L, D, H, W) has a voxel below `certain`, as bool (B,)."""
        return certainty_of(logits.movedim(1, 0)).flatten(1).amin(dim=1) < (self._certain or 0)


def mirrors(axes: Axes) -> list[Axes]:
    """Return every subset of axes of (D, H, W), the empty one first, as axes of (B, C, D, H, W)."""
    subsets = chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1))
    return [tuple(axis + 2 for axis in subset) for subset in subsets]
