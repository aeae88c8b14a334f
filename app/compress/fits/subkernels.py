"""The sub-kernels that each output channel of a trained convolution may keep, fitted to its output.

Every candidate is fitted separately, as in LANA (Molchanov et al., arXiv 2107.10624): the weights on its taps
whose output is nearest to the trained one, by least squares on the convolution's inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.compress.fits.conv_fit import Following
from app.compress.fits.samples import Rows
from app.core.kernel import Kernel
from app.core.types import as_size
from app.layers.candidates import taps_in

_RIDGE = 1e-3  # share of a tap's mean energy; pulls towards the trained weights where data are few


@dataclass(frozen=True)
class FittedKernels:
    """The weights of each candidate (out, in, *size), and the energy each loses (kernels, out)."""

    weights: tuple[Tensor, ...]
    errors: Tensor


def fit_kernels(
    conv: nn.Conv3d, kernels: Sequence[Kernel], rows: Rows | None, following: Following
) -> FittedKernels:
    """Fit every kernel to every output channel.

    Energies are measured after the norm that follows. Without rows nothing is fitted: kernels are cut out of
    the trained weights, and their loss is the energy of the taps left out.
    """
    trained = conv.weight.detach().double().flatten(1)  # (out, in * taps)
    moments = torch.eye(trained.shape[1], dtype=torch.float64) if rows is None else _moments(rows)
    scale = _scale(trained, rows, following)
    weights, errors = [], []
    for kernel in kernels:
        mine = taps_of(kernel, conv)
        found = solve(moments, moments @ trained.T, trained, mine)
        missing = trained.clone()
        missing[:, mine] -= found
        errors.append(scale * ((missing @ moments) * missing).sum(1))
        weights.append(found.view(len(found), conv.in_channels, *kernel.size).float())
    return FittedKernels(tuple(weights), torch.stack(errors).clamp_min(0))


def refit_kernels(
    conv: nn.Conv3d, kernels: Sequence[Kernel], chosen: Tensor, rows: Rows
) -> tuple[Tensor, ...]:
    """Fit the chosen kernel of each channel, `chosen` (out,), to the trained outputs for changed inputs.

    `rows` has inputs as the changed network makes them, and outputs of the trained network. Returns weights
    (out, in, *size) for every kernel; they are zero for channels that chose another kernel.
    """
    trained = conv.weight.detach().double().flatten(1)
    seen = _centred(rows)
    outputs = rows.outputs.double()
    wanted = seen.T @ (outputs - outputs.mean(0)) / len(seen)
    moments = seen.T @ seen / len(seen)
    found = []
    for index, kernel in enumerate(kernels):
        mine, slots = taps_of(kernel, conv), torch.nonzero(chosen == index)[:, 0]
        weight = torch.zeros(len(trained), conv.in_channels, *kernel.size)
        if len(slots):
            fitted = solve(moments, wanted[:, slots], trained[slots], mine)
            weight[slots] = fitted.view(len(slots), *weight.shape[1:]).float()
        found.append(weight)
    return tuple(found)


def solve(moments: Tensor, wanted: Tensor, trained: Tensor, taps: Tensor) -> Tensor:
    """Return the weights (out, taps) of least squared error whose other taps are zero.

    `moments` (all, all) are second moments of the inputs, `wanted` (all, out) those of inputs and outputs.
    """
    ridge = _RIDGE * moments.diagonal().mean()
    left = moments[taps][:, taps] + ridge * torch.eye(len(taps), dtype=moments.dtype)
    right = wanted[taps] + ridge * trained[:, taps].T
    found: Tensor = torch.linalg.solve(left, right).T
    return found


def taps_of(kernel: Kernel, conv: nn.Conv3d) -> Tensor:
    """Return the indices of a kernel's taps among the (in * taps) weights of a convolution."""
    inside = torch.zeros(conv.in_channels, *as_size(conv.kernel_size), dtype=torch.bool)
    inside[(slice(None), *taps_in(kernel, as_size(conv.kernel_size)))] = True
    return torch.nonzero(inside.flatten())[:, 0]


def _moments(rows: Rows) -> Tensor:
    seen = _centred(rows)
    return seen.T @ seen / len(seen)


def _centred(rows: Rows) -> Tensor:
    """Return centred inputs (row, in * taps), because the norm after the convolution removes means."""
    seen = rows.inputs.double().permute(1, 0, 2).flatten(1)
    return seen - seen.mean(0)


def _scale(trained: Tensor, rows: Rows | None, following: Following) -> Tensor:
    """Return the squared factor by which the norm multiplies each channel, (out,)."""
    energy = trained.square().sum(1) if rows is None else rows.outputs.double().var(0) + following.eps
    gain = torch.ones_like(energy) if following.gain is None else following.gain.square()
    return gain / energy.clamp_min(torch.finfo(energy.dtype).tiny)
