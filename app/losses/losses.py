"""Dice, Tversky, cross-entropy and focal loss, from sums over classes: equal to MONAI's without one-hot.

A loss takes the classes of its logits unless it is aimed at a task's targets: with a softmax over labels,
with a sigmoid over regions. `class_weights` are by name of label or region, 1 for those not named. With
`log`, which the configuration sets, the overlap term is minus the logarithm of the index, unlike MONAI's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.core.errors import InputError
from app.losses.class_sums import ClassSums, class_sums
from app.losses.targets import Targets

_SMOOTH = 1e-5  # MONAI's: added to both sides of the overlap's fraction
_MANY = 10  # labels beyond which the overlap's planned weight grows, as it is a mean over labels


@dataclass(frozen=True)
class Overlap:
    """Tversky index: Dice where false positives and false negatives both weigh one half."""

    false_positives: float
    false_negatives: float
    smooth: float
    batch: bool
    include_background: bool
    log: bool = False
    """Minus the logarithm of the index, instead of one minus it, for labels that the batch holds.

    The gradient of one minus the index vanishes with the probability of a label not found yet; that of
    the logarithm does not (Wong et al., MICCAI 2018).
    """


@dataclass(frozen=True)
class Entropy:
    """Focal loss, which is the cross-entropy for `gamma` 0; `binary`: of a sigmoid, output by output."""

    gamma: float
    binary: bool
    include_background: bool


@dataclass(frozen=True)
class SumLoss:
    """A weighted sum of an overlap loss and a voxelwise loss."""

    overlap: Overlap
    entropy: Entropy
    lambda_overlap: float | None
    """None for 1, and a tenth of the number of labels where there are more than 10."""
    lambda_entropy: float
    class_weights: Mapping[str, float] | None = None
    targets: Targets | None = None
    exchange: Callable[[Tensor], Tensor] | None = None
    """Sums (b, ...) of some patches of a batch -> those of all its patches (B, ...); None: they are all."""

    def __post_init__(self) -> None:
        """Validate weights."""
        overlap = 1.0 if self.lambda_overlap is None else self.lambda_overlap
        values = (overlap, self.lambda_entropy, *(self.class_weights or {}).values())
        if min(values) < 0 or max(values[:2]) == 0:
            raise InputError(f"loss: got weights {list(values)}, wanted none below 0 and not both terms 0")
        if self.entropy.gamma < 0:
            raise InputError(f"loss.gamma: got {self.entropy.gamma}, wanted at least 0")

    def aimed_at(self, targets: Targets) -> "SumLoss":
        """The loss for a task's targets.

        Raises:
            InputError: class weights for names that the task does not have.
        """
        unknown = sorted(set(self.class_weights or {}) - set(targets.names))
        if unknown:
            raise InputError(
                f"loss.class_weights: got {', '.join(unknown)}, wanted names among {', '.join(targets.names)}"
            )
        return replace(self, targets=targets)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, outputs, D, H, W) and label values (B, 1, D, H, W) -> a scalar."""
        targets = self.targets or Targets.of_labels(logits.shape[1])
        binary = self.entropy.binary or not targets.exclusive
        gamma = self.entropy.gamma
        sums = class_sums(logits, labels, targets, gamma=gamma, binary=binary)
        if self.exchange is not None:
            tables = (sums.overlap, sums.predicted, sums.reference, sums.entropy)
            sums = ClassSums(*self.exchange(torch.stack(tables, dim=1)).unbind(1))
        weights = self._weights(targets, logits)
        voxels = labels[0, 0].numel() * len(sums.reference)
        first = targets.exclusive and logits.shape[1] > 1
        cut = slice(int(first and not self.entropy.include_background), None)
        if binary:
            entropy = (weights[cut] * sums.entropy[:, cut].sum(0)).mean() / voxels
        else:
            entropy = self._softmax_entropy(sums, weights, voxels)
        cut = slice(int(first and not self.overlap.include_background), None)
        overlaps = self._overlaps(sums)[:, cut]
        overlap = (weights[cut] * overlaps).mean()
        weight = max(1.0, overlaps.shape[1] / _MANY) if self.lambda_overlap is None else self.lambda_overlap
        return weight * overlap + self.lambda_entropy * entropy

    def _overlaps(self, sums: ClassSums) -> Tensor:
        """One minus the index or minus its logarithm, (B or 1, outputs)."""
        how = self.overlap
        tables = (sums.overlap, sums.predicted, sums.reference)
        right, predicted, reference = (table.sum(0, keepdim=True) if how.batch else table for table in tables)
        wrong = how.false_positives * (predicted - right) + how.false_negatives * (reference - right)
        index = (right + how.smooth) / (right + wrong + how.smooth)
        return torch.where(reference > 0, -index.log(), 1 - index) if how.log else 1 - index

    def _softmax_entropy(self, sums: ClassSums, weights: Tensor, voxels: int) -> Tensor:
        """The mean over voxels by their weight, as torch's; of a focal loss over outputs too, as MONAI's."""
        total = (weights * sums.entropy.sum(0)).sum()
        if self.entropy.gamma > 0:
            return total / (voxels * len(weights))
        counts = sums.reference.sum(0)
        return total / ((weights * counts).sum() + weights[0] * (voxels - counts.sum()))

    def _weights(self, targets: Targets, logits: Tensor) -> Tensor:
        given = self.class_weights or {}
        return torch.tensor([float(given.get(name, 1.0)) for name in targets.names], device=logits.device)


def dice_ce(
    *,
    include_background: bool = False,
    batch: bool = True,
    log: bool = False,
    lambda_dice: float | None = 1.0,
    lambda_ce: float = 1.0,
    class_weights: Mapping[str, float] | None = None,
) -> SumLoss:
    """Soft Dice plus cross-entropy: monai.losses.DiceCELoss; of regions the binary cross-entropy."""
    overlap = Overlap(0.5, 0.5, _SMOOTH / 2, batch, include_background, log)
    return SumLoss(overlap, Entropy(0.0, False, True), lambda_dice, lambda_ce, class_weights)


def dice_focal(
    *,
    gamma: float = 2.0,
    include_background: bool = False,
    batch: bool = True,
    log: bool = False,
    lambda_dice: float | None = 1.0,
    lambda_focal: float = 1.0,
    class_weights: Mapping[str, float] | None = None,
) -> SumLoss:
    """Soft Dice plus the focal loss of a sigmoid: monai.losses.DiceFocalLoss."""
    overlap = Overlap(0.5, 0.5, _SMOOTH / 2, batch, include_background, log)
    entropy = Entropy(gamma, True, include_background)
    return SumLoss(overlap, entropy, lambda_dice, lambda_focal, class_weights)


def tversky_ce(
    *,
    false_positives: float = 0.3,
    false_negatives: float = 0.7,
    include_background: bool = False,
    batch: bool = True,
    log: bool = False,
    lambda_tversky: float | None = 1.0,
    lambda_ce: float = 1.0,
    class_weights: Mapping[str, float] | None = None,
) -> SumLoss:
    """The Tversky loss (Salehi et al. 2017), monai.losses.TverskyLoss, plus cross-entropy."""
    overlap = Overlap(false_positives, false_negatives, _SMOOTH, batch, include_background, log)
    return SumLoss(overlap, Entropy(0.0, False, True), lambda_tversky, lambda_ce, class_weights)


def focal(*, gamma: float = 2.0, class_weights: Mapping[str, float] | None = None) -> SumLoss:
    """The focal loss of a softmax alone: monai.losses.FocalLoss with use_softmax; of regions of a sigmoid."""
    overlap = Overlap(0.5, 0.5, _SMOOTH / 2, True, False)
    return SumLoss(overlap, Entropy(gamma, False, True), 0.0, 1.0, class_weights)
