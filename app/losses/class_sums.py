"""Sums over voxels, per sample and output, from which overlap losses and cross-entropies are computed.

The only tensors with all classes and voxels are the logits and their gradient. Voxels are processed in
pieces, and each piece is computed again in the backward pass. For the usual case, a softmax with
cross-entropy and known labels, the gradient is a formula; in other cases autograd computes it per piece.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from app.losses.targets import Targets

_PIECE = {"cpu": 2**18}  # logits per piece, so that a piece fits into the cache of a core
_PIECE_ELSEWHERE = 2**25
_LEAST = 1e-12  # smallest 1 - p in the focal loss, whose gradient is not finite at 0

Part = Callable[[Tensor, Tensor], Tensor]
"""A function of logits (outputs, n) and label values (n,) of a piece; returns its sums (4, outputs)."""
Slope = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A function of logits and label values of a piece and the gradient of its sums (4, outputs); returns the
gradient of the logits."""


@dataclass(frozen=True)
class ClassSums:
    """The sums over the voxels of each sample, each of shape (B, outputs)."""

    overlap: Tensor
    """Sum of the predicted probability over voxels that belong to the output."""
    predicted: Tensor
    """Sum of the predicted probability over voxels known to belong or not to belong to the output."""
    reference: Tensor
    """Number of voxels that belong to the output; has no gradient."""
    entropy: Tensor
    """Sum of the cross-entropy or focal loss."""


def class_sums(
    logits: Tensor, labels: Tensor, targets: Targets, *, gamma: float = 0.0, binary: bool = False
) -> ClassSums:
    """Return the sums for logits (B, outputs, D, H, W) and label values (B, 1, D, H, W).

    `entropy` is the focal loss with `gamma` (0: cross-entropy). For a softmax it is summed under each voxel's
    own label. If `binary`, or for regions, it is that of a sigmoid per output. A voxel that may have one of
    several labels counts, under label 0, with the sum of their probabilities (marginal loss, Shi et al.,
    Medical Image Analysis 2021).
    """
    tables = targets.to(logits.device)

    def part(piece: Tensor, values: Tensor) -> Tensor:
        if targets.exclusive:
            sums, probabilities = _of_softmax(piece, values, tables, gamma)
        else:
            sums, probabilities = None, piece.sigmoid()
        if sums is not None and not binary:
            return sums
        known, member = tables.known[:, values], tables.member[:, values]
        entropy = (_focal(piece, member, gamma) * known).sum(1)
        if sums is not None:
            return torch.stack([*sums[:3], entropy])
        right = (probabilities * member).sum(1)
        return torch.stack([right, (probabilities * known).sum(1), member.sum(1, dtype=piece.dtype), entropy])

    def slope(piece: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
        with torch.enable_grad():
            sums = part(piece.requires_grad_(), values)
        return torch.autograd.grad(sums, piece, wanted)[0]

    plain = targets.exclusive and targets.certain and gamma == 0 and not binary
    ways = (_plain_sums, _plain_slope) if plain else (part, slope)
    return ClassSums(*_Sums.apply(logits, labels, *ways))  # type: ignore[no-untyped-call]


def _plain_sums(piece: Tensor, values: Tensor) -> Tensor:
    """Return the sums for a softmax with cross-entropy if every voxel's label is known; overwrite `piece`."""
    logs = torch.log_softmax(piece, 0, out=piece)
    right = logs.gather(0, values[None])[0]
    overlap, reference, entropy = _by_label(values, len(piece), right.exp(), torch.ones_like(right), -right)
    return torch.stack([overlap, logs.exp_().sum(1), reference, entropy])


def _plain_slope(piece: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
    """Return the gradient of the logits that belongs to `_plain_sums`; overwrite `piece`.

    With p the softmax, l the voxel's label and g the gradient of the sums, the gradient of logit k is
    p_k (g_predicted,k - m + g_entropy,l), plus g_overlap,l p_l - g_entropy,l if k = l, with
    m = sum_j p_j g_predicted,j + g_overlap,l p_l.
    """
    overlap, predicted, _, entropy = wanted
    own = values[None]
    chances = torch.softmax(piece, 0, out=piece)
    pull, push = chances.gather(0, own)[0] * overlap[values], entropy[values]
    mean = (predicted @ chances).add_(pull)
    rows = (push - mean)[None]
    return chances.mul_(predicted[:, None] + rows).scatter_add_(0, own, (pull - push)[None])


def _of_softmax(piece: Tensor, values: Tensor, tables: Targets, gamma: float) -> tuple[Tensor, Tensor]:
    """Return the sums (4, outputs) of a piece with softmax, and its probabilities (outputs, n)."""
    logs = piece.log_softmax(0)
    probabilities = logs.exp()
    if tables.certain:
        own, sure, predicted = values, None, probabilities.sum(1)
        right = logs.gather(0, own[None])[0]
    else:
        sure = values < tables.labels
        own = values.where(sure, 0)
        predicted = (probabilities * tables.known[:, values]).sum(1)
        possible = tables.possible[:, values]
        joint = logs.masked_fill(~possible, -torch.inf).logsumexp(0)
        right = torch.where(sure, logs.gather(0, own[None])[0], joint.where(~possible.all(0), 0))
    counted = torch.ones_like(right) if sure is None else sure.to(right.dtype)
    entropy = -right if gamma == 0 else -((-right.expm1()).clamp_min(_LEAST) ** gamma) * right
    overlap, reference, entropy = _by_label(own, len(piece), right.exp() * counted, counted, entropy)
    return torch.stack([overlap, predicted, reference, entropy]), probabilities


def _by_label(values: Tensor, labels: int, *terms: Tensor) -> list[Tensor]:
    """Return the sum (labels,) of each term (n,) over the voxels of each label.

    A GPU adds the voxels of its large pieces one by one, which would lose small terms in single precision.
    """
    zeros = torch.zeros(labels, dtype=_added_in(values.device), device=values.device)
    return [zeros.index_add(0, values, term.to(zeros.dtype)).to(term.dtype) for term in terms]


def _focal(logits: Tensor, member: Tensor, gamma: float) -> Tensor:
    """Return the focal loss of a sigmoid for each logit (Lin et al. 2017)."""
    target = member.to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if gamma == 0:
        return entropy
    wrong = F.logsigmoid(logits * (1 - 2 * target))
    return (gamma * wrong).exp() * entropy


class _Sums(torch.autograd.Function):
    """A function with gradient: the sums over all pieces of each sample."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, part: Part, slope: Slope) -> tuple[Tensor, ...]:
        """Return the four sums, each (B, outputs)."""
        ctx.save_for_backward(logits, labels)
        ctx.slope = slope
        sums = logits.new_zeros(len(logits), 4, logits.shape[1], dtype=_summed_in(logits))
        for sample, piece, values, _ in _pieces(logits, labels, None):
            sums[sample] += part(piece, values)
        ctx.mark_non_differentiable(reference := sums[:, 2].float())
        return sums[:, 0].float(), sums[:, 1].float(), reference, sums[:, 3].float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient of the logits, for which each piece is computed again."""
        logits, labels = ctx.saved_tensors
        wanted = torch.stack([grads[0], grads[1], torch.zeros_like(grads[0]), grads[3]], dim=1)
        result = torch.empty_like(logits, memory_format=_order(logits))
        for sample, piece, values, place in _pieces(logits, labels, result):
            place.copy_(ctx.slope(piece, values, wanted[sample]))
        return result, None, None, None


def _pieces(
    logits: Tensor, labels: Tensor, result: Tensor | None
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Yield the pieces: sample, a copy of its logits (outputs, n), label values (n,), and a view of `result`.

    The view covers the same voxels; without `result` it is one of the logits.
    """
    size = max(1, _PIECE.get(logits.device.type, _PIECE_ELSEWHERE) // logits.shape[1])
    for sample in range(len(logits)):
        flat, values = logits[sample].detach().flatten(1), labels[sample].flatten()
        places = flat if result is None else result[sample].flatten(1)
        for first in range(0, len(values), size):
            cut = slice(first, first + size)
            piece = torch.empty(flat[:, cut].shape, dtype=torch.float32, device=flat.device)
            yield sample, piece.copy_(flat[:, cut]), values[cut].long(), places[:, cut]


def _order(logits: Tensor) -> torch.memory_format:
    """Return the memory format of the logits."""
    last = torch.channels_last_3d
    return last if logits.is_contiguous(memory_format=last) else torch.contiguous_format


def _added_in(device: torch.device) -> torch.dtype:
    return torch.float64 if device.type == "cuda" else torch.float32


def _summed_in(logits: Tensor) -> torch.dtype:
    return torch.float32 if logits.device.type == "mps" else torch.float64
