"""Dice, Tversky, cross-entropy and focal losses, computed from sums over classes without a one-hot volume.

The values equal those of MONAI's losses. The exception is `log`, which the configuration sets: it replaces
the overlap term by minus the logarithm of the index.

By default each channel of the logits is a label. A loss for a task (`aimed_at`) uses a softmax for labels and
a sigmoid for regions. `class_weights` are given by name of label or region; missing names weigh 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.core.errors import InputError
from app.losses.class_sums import ClassSums, class_sums
from app.losses.targets import Targets

_SMOOTH = 1e-5  # added to numerator and denominator of the overlap index, as in MONAI
_MANY = 10  # with more labels, the default weight of the overlap term, a mean over labels, grows


@dataclass(frozen=True)
class Overlap:
    """The settings of the overlap term, a Tversky index.

    `false_positives` and `false_negatives` are weights; with one half for both, the index is Dice.
    """

    false_positives: float
    false_negatives: float
    smooth: float
    batch: bool
    include_background: bool
    log: bool = False
    """Whether to use minus the logarithm of the index, not one minus the index, for labels in the batch.

    As the predicted probability of a label approaches 0, the gradient of one minus the index vanishes; that
    of the logarithm does not (Wong et al., MICCAI 2018).
    """


@dataclass(frozen=True)
class Entropy:
    """The settings of the voxelwise term, a focal loss; with `gamma` 0 it is the cross-entropy.

    With `binary` it is that of a sigmoid per output, else that of a softmax.
    """

    gamma: float
    binary: bool
    include_background: bool


@dataclass(frozen=True)
class SumLoss:
    """A weighted sum of an overlap loss and a voxelwise loss."""

    overlap: Overlap
    entropy: Entropy
    lambda_overlap: float | None
    """Weight of the overlap term; None for a tenth of the number of labels, but at least 1."""
    lambda_entropy: float
    class_weights: Mapping[str, float] | None = None
    targets: Targets | None = None
    exchange: Callable[[Tensor], Tensor] | None = None
    """A function from the sums (b, ...) of this process's patches to those of the whole batch (B, ...).

    None if this process computes the whole batch."""

    def __post_init__(self) -> None:
        """Validate weights and gamma."""
        overlap = 1.0 if self.lambda_overlap is None else self.lambda_overlap
        values = (overlap, self.lambda_entropy, *(self.class_weights or {}).values())
        if min(values) < 0 or max(values[:2]) == 0:
            raise InputError(f"loss: got weights {list(values)}, wanted none below 0 and not both terms 0")
        if self.entropy.gamma < 0:
            raise InputError(f"loss.gamma: got {self.entropy.gamma}, wanted at least 0")

    def aimed_at(self, targets: Targets) -> "SumLoss":
        """Return the loss for a task's targets.

        Raises:
            InputError: class weights are given for names that the task does not have.
        """
        unknown = sorted(set(self.class_weights or {}) - set(targets.names))
        if unknown:
            raise InputError(
                f"loss.class_weights: got {', '.join(unknown)}, wanted names among {', '.join(targets.names)}"
            )
        return replace(self, targets=targets)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of logits (B, outputs, D, H, W) and label values (B, 1, D, H, W), a scalar."""
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
        """Return one minus the index, or minus its logarithm, as (B or 1, outputs)."""
        how = self.overlap
        tables = (sums.overlap, sums.predicted, sums.reference)
        right, predicted, reference = (table.sum(0, keepdim=True) if how.batch else table for table in tables)
        wrong = how.false_positives * (predicted - right) + how.false_negatives * (reference - right)
        index = (right + how.smooth) / (right + wrong + how.smooth)
        return torch.where(reference > 0, -index.log(), 1 - index) if how.log else 1 - index

    def _softmax_entropy(self, sums: ClassSums, weights: Tensor, voxels: int) -> Tensor:
        """Return the weighted mean over voxels as in torch; for focal loss also over outputs, as in MONAI."""
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
    """Return soft Dice plus cross-entropy, as monai.losses.DiceCELoss; for regions, binary cross-entropy."""
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
    """Return soft Dice plus the focal loss of a sigmoid, as monai.losses.DiceFocalLoss."""
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
    """Return the Tversky loss (Salehi et al. 2017; monai.losses.TverskyLoss) plus cross-entropy."""
    overlap = Overlap(false_positives, false_negatives, _SMOOTH, batch, include_background, log)
    return SumLoss(overlap, Entropy(0.0, False, True), lambda_tversky, lambda_ce, class_weights)


def focal(*, gamma: float = 2.0, class_weights: Mapping[str, float] | None = None) -> SumLoss:
    """Return the focal loss alone, as monai.losses.FocalLoss with use_softmax; for regions, of a sigmoid."""
    overlap = Overlap(0.5, 0.5, _SMOOTH / 2, True, False)
    return SumLoss(overlap, Entropy(gamma, False, True), 0.0, 1.0, class_weights)
