"""Two measures of the confidence of a prediction, per label, on the network's grid.

Agreement is the Dice between the labels of a pass (one network, mirror image or window) and the labels
decided by the passes before it. For overlapping windows it is computed on every other row of every other
slice.

Soft Dice is the Dice that the probabilities predict for the decided labels:
2 sum(p [decided]) / (sum p + sum [decided]), as in Borges et al., "Soft Dice Confidence", 2024.

Both are from 0 to 1, and None for a label that is never predicted.
"""

import torch
from torch import Tensor

from app.infer.window.decode import most_probable_labels, probabilities_of

_VOXELS = 2**17  # voxels whose probabilities are computed at once


class Agreement:
    """The agreement of passes with those before them, from counts of voxels per label."""

    def __init__(self, labels: int) -> None:
        self.counted = False
        self._shared = torch.zeros(labels, dtype=torch.int64)
        self._sums = torch.zeros(labels, dtype=torch.int64)

    def compare(self, logits: Tensor, before: Tensor, where: Tensor | None = None) -> None:
        """Count logits (L, ...) of a pass against the sum of logits before it, as `count` does for labels."""
        if where is None or where.any():
            self.count(most_probable_labels(logits), most_probable_labels(before), where)

    def count(self, vote: Tensor, decided: Tensor, where: Tensor | None = None) -> None:
        """Count the labels of a pass against those decided before it.

        Only voxels for which the mask `where` is true are counted; None counts all.
        """
        labels = len(self._sums)
        self.counted = True
        pair = decided.to(torch.int32) * labels + vote
        if where is not None:
            pair = torch.where(where, pair, labels**2)
        counts = torch.bincount(pair.flatten(), minlength=labels**2 + 1)
        pairs = counts[:-1].view(labels, labels).cpu()
        self._shared += pairs.diagonal()
        self._sums += pairs.sum(0) + pairs.sum(1)

    def dice(self) -> list[float | None]:
        """Return the agreement for label 0, 1, ..."""
        return [
            2 * int(shared) / int(total) if total else None
            for shared, total in zip(self._shared, self._sums, strict=True)
        ]


class SoftDice:
    """The soft Dice of a prediction, from sums of probabilities and counts of decided voxels per label."""

    def __init__(self, labels: int) -> None:
        self._inside = torch.zeros(labels, dtype=torch.float64)
        self._sums = torch.zeros(labels, dtype=torch.float64)
        self._decided = torch.zeros(labels, dtype=torch.int64)

    def add(self, logits: Tensor) -> None:
        """Add slices of logits (L, d, h, w); only a few are processed at once, to save memory."""
        labels = len(self._sums)
        for slices in torch.split(logits, max(1, _VOXELS // logits[0, 0].numel()), dim=1):
            probabilities = probabilities_of(slices).flatten(1)
            decided = most_probable_labels(slices).flatten().to(torch.int64)
            chosen = probabilities.gather(0, decided[None])[0]
            self._inside += torch.bincount(decided, weights=chosen, minlength=labels).cpu()
            self._decided += torch.bincount(decided, minlength=labels).cpu()
            self._sums += probabilities.sum(dim=1).cpu()

    def dice(self) -> list[float | None]:
        """Return the expected Dice for label 0, 1, ..."""
        return [
            2 * float(inside) / (float(total) + int(decided)) if decided else None
            for inside, total, decided in zip(self._inside, self._sums, self._decided, strict=True)
        ]
