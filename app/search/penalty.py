"""Penalties that a search adds to the loss, so that gates depend on the cost of their kernels."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from app.core.kernel import Kernel
from app.operators.searched import SearchedConv3d
from app.operators.supernet import SampledConv3d
from app.search.costs import Budget, Site, dense_total, slot_costs
from app.train.state import LossFunction

Penalty = Callable[[], Tensor]


def penalised(loss: LossFunction, penalty: Penalty) -> LossFunction:
    """Return the loss plus a penalty that depends on the network, not on the batch."""

    def total(logits: Any, labels: Tensor) -> Tensor:
        return loss(logits, labels) + penalty()

    return total


def super_convolutions(network: nn.Module) -> dict[str, SearchedConv3d]:
    """Return the searched convolutions of a network by module path, in the order in which it was built."""
    return {name: part for name, part in network.named_modules() if isinstance(part, SearchedConv3d)}


def gate_penalty(modules: Sequence[SearchedConv3d], strength: float) -> Penalty:
    """Return the penalty of the cost-priority search of CAKES: L1 of gates, weighted by their kernels' taps.

    The weight is the kernel's share of all taps: 9 to 3 to 1 for 3D, 2D and 1D kernels of three taps per
    axis.
    """
    weights = [_tap_shares(part.kernels)[:, None].to(part.gates.device) for part in modules]

    def penalty() -> Tensor:
        parts = [(weight * part.gates.abs()).sum() for weight, part in zip(weights, modules, strict=True)]
        return strength * torch.stack(parts).sum()

    return penalty


def budget_penalty(modules: Mapping[Site, SampledConv3d], budget: Budget, *, strength: float) -> Penalty:
    """Return the penalty of `gates`: the squared logarithm of expected cost over budget."""
    dense = dense_total(list(modules), budget.costs)
    each = [
        (torch.tensor(slot_costs(site, budget.costs)) / dense)[:, None].to(part.gates.device)
        for site, part in modules.items()
    ]

    def penalty() -> Tensor:
        parts = [
            (cost * part.probabilities()).sum() for cost, part in zip(each, modules.values(), strict=True)
        ]
        return strength * torch.log(torch.stack(parts).sum() / budget.share).square()

    return penalty


def _tap_shares(kernels: tuple[Kernel, ...]) -> Tensor:
    taps = torch.tensor([float(kernel.taps) for kernel in kernels])
    return taps / taps.sum()
