"""The baselines' matrices: channel decomposition (Zhang et al., 2016), spatial (Jaderberg et al., 2014)."""

import torch
from torch import Tensor

_CUTOFF = 1e-6


def principal_mix(responses: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the channel decomposition of centred responses (row, out): (out, rank) and (rank, out)."""
    _, _, right = torch.linalg.svd(responses, full_matrices=False)
    return right[:rank].T, right[:rank]


def regressed_mix(responses: Tensor, target: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the same pair if responses and target have different inputs, by reduced-rank regression."""
    mapping = torch.linalg.lstsq(responses, target, rcond=_CUTOFF, driver="gelsd").solution
    _, _, right = torch.linalg.svd(responses @ mapping, full_matrices=False)
    return mapping @ right[:rank].T, right[:rank]


def spatial_pair(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Split a weight (out, in, kd, kh, kw): nearest (rank, in, kd, 1, 1) and (out, rank, 1, kh, kw)."""
    out_channels, in_channels, depth, height, width = weight.shape
    rows = weight.detach().double().permute(1, 2, 0, 3, 4).reshape(in_channels * depth, -1)
    left, values, right = torch.linalg.svd(rows, full_matrices=False)
    root = values[:rank].sqrt()
    first = (left[:, :rank] * root).T.reshape(-1, in_channels, depth, 1, 1)
    second = (root[:, None] * right[:rank]).reshape(-1, out_channels, 1, height, width).transpose(0, 1)
    return first, second
