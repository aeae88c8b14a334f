"""Sums over voxels that overlap losses and cross-entropies follow from, for each sample and output.

No volume of all classes is made besides the logits and their gradient: voxels are gone through in pieces,
forward and again backward, where each piece is computed a second time. The gradient of the usual case, a
softmax with cross-entropy and certain labels, is written out; autograd computes the others piece by piece.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from app.losses.targets import Targets

_PIECE = {"cpu": 2**18}  # logits at once: what fits into a core's cache
_PIECE_ELSEWHERE = 2**25
_LEAST = 1e-12  # of a doubt: the slope of a power of nothing is not finite

Part = Callable[[Tensor, Tensor], Tensor]
"""Logits (outputs, n) and label values (n,) of a piece -> its sums (4, outputs)."""
Slope = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Logits and label values of a piece, gradient of its sums (4, outputs) -> gradient of the logits."""


@dataclass(frozen=True)
class ClassSums:
    """Sums over the voxels of each sample, (B, outputs) each."""

    overlap: Tensor
    """Probability where it is right."""
    predicted: Tensor
    """Probability where it is known whether it is right."""
    reference: Tensor
    """Voxels of the reference, without gradient."""
    entropy: Tensor
    """Cross-entropy or focal loss."""


def class_sums(
    logits: Tensor, labels: Tensor, targets: Targets, *, gamma: float = 0.0, binary: bool = False
) -> ClassSums:
    """Return the sums of logits (B, outputs, D, H, W) and label values (B, 1, D, H, W).

    `entropy` is the focal loss of `gamma` (0: the cross-entropy): of a softmax, by the voxel's own label, or,
    if `binary` or for regions, of a sigmoid, by output. Voxels whose label is one of several count by the sum
    of their probabilities (the marginal loss of Shi et al., Medical Image Analysis 2021), under label 0.
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
    """The sums of a softmax with cross-entropy where every voxel has one label; overwrites `piece`."""
    logs = torch.log_softmax(piece, 0, out=piece)
    right = logs.gather(0, values[None])[0]
    zeros = right.new_zeros(len(piece))
    overlap, reference, entropy = (
        zeros.index_add(0, values, each) for each in (right.exp(), torch.ones_like(right), -right)
    )
    return torch.stack([overlap, logs.exp_().sum(1), reference, entropy])


def _plain_slope(piece: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
    """The gradient that belongs to `_plain_sums`; overwrites `piece`.

    With p the softmax, l a voxel's label and g the gradient of the sums, it is
    p_k (g_predicted,k - m + g_entropy,l), and for k = l further g_overlap,l p_l - g_entropy,l, where
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
    """The sums of a piece, and its probabilities (outputs, n)."""
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
    zeros = right.new_zeros(len(piece))
    sums = [
        zeros.index_add(0, own, right.exp() * counted),
        predicted,
        zeros.index_add(0, own, counted),
        zeros.index_add(0, own, entropy),
    ]
    return torch.stack(sums), probabilities


def _focal(logits: Tensor, member: Tensor, gamma: float) -> Tensor:
    """The focal loss of a sigmoid, voxel by voxel (Lin et al. 2017)."""
    target = member.to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if gamma == 0:
        return entropy
    wrong = F.logsigmoid(logits * (1 - 2 * target))
    return (gamma * wrong).exp() * entropy


class _Sums(torch.autograd.Function):
    """The sums of all pieces of each sample, and the gradient of the logits piece by piece."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, part: Part, slope: Slope) -> tuple[Tensor, ...]:
        """Four sums (B, outputs)."""
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
        """The gradient of the logits, computed again."""
        logits, labels = ctx.saved_tensors
        wanted = torch.stack([grads[0], grads[1], torch.zeros_like(grads[0]), grads[3]], dim=1)
        result = torch.empty_like(logits, memory_format=_order(logits))
        for sample, piece, values, place in _pieces(logits, labels, result):
            place.copy_(ctx.slope(piece, values, wanted[sample]))
        return result, None, None, None


def _pieces(
    logits: Tensor, labels: Tensor, result: Tensor | None
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Sample, logits (outputs, n) as a new tensor, label values (n,), and the same place of `result`."""
    size = max(1, _PIECE.get(logits.device.type, _PIECE_ELSEWHERE) // logits.shape[1])
    for sample in range(len(logits)):
        flat, values = logits[sample].detach().flatten(1), labels[sample].flatten()
        places = flat if result is None else result[sample].flatten(1)
        for first in range(0, len(values), size):
            cut = slice(first, first + size)
            piece = torch.empty(flat[:, cut].shape, dtype=torch.float32, device=flat.device)
            yield sample, piece.copy_(flat[:, cut]), values[cut].long(), places[:, cut]


def _order(logits: Tensor) -> torch.memory_format:
    """The order in memory of the logits."""
    last = torch.channels_last_3d
    return last if logits.is_contiguous(memory_format=last) else torch.contiguous_format


def _summed_in(logits: Tensor) -> torch.dtype:
    return torch.float32 if logits.device.type == "mps" else torch.float64
