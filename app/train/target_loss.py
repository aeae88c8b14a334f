"""A loss on label maps for tasks with regions or ignored voxels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from app.train.state import LossFunction

_SURE = 20.0  # the softmax or sigmoid of this logit differs from 1 by about 1e-9


class TargetLoss:
    """A loss that receives masks of regions instead of label values, and ignores ignored voxels.

    The logits of an ignored voxel are replaced by a certain and correct answer, background. So the voxel adds
    nothing to an overlap or a cross-entropy and gets no gradient. Means over voxels still count it.
    """

    def __init__(self, loss: LossFunction, *, regions: Sequence[Sequence[int]], ignore: int | None) -> None:
        self._loss = loss
        self._regions = regions
        self._ignore = ignore

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of logits (B, classes, D, H, W) and label values (B, 1, D, H, W)."""
        if self._ignore is not None:
            ignored = labels == self._ignore
            logits = torch.where(ignored, self._background(logits), logits)
            labels = labels.masked_fill(ignored, 0)
        if self._regions:
            labels = torch.cat([_inside(labels, region) for region in self._regions], dim=1)
        return self._loss(logits, labels)

    def _background(self, logits: Tensor) -> Tensor:
        sure = torch.full((1, logits.shape[1], 1, 1, 1), -_SURE, dtype=logits.dtype, device=logits.device)
        if not self._regions:
            sure[:, 0] = _SURE
        return sure


def _inside(labels: Tensor, values: Sequence[int]) -> Tensor:
    return sum((labels == value).float() for value in values)  # type: ignore[return-value]
