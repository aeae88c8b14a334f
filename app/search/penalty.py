"""What a search adds to the loss, so that the gates learn what their kernels cost."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from app.core.kernel import Kernel
from app.operators.searched import SearchedConv3d
from app.operators.supernet import SampledConv3d
from app.search.costs import Budget, Site, dense_total, slot_costs
from app.train.state import Loss

Penalty = Callable[[], Tensor]


def penalised(loss: Loss, penalty: Penalty) -> Loss:
    """The loss plus a penalty that looks at the network and not at the batch."""

    def total(logits: Any, labels: Tensor) -> Tensor:
        return loss(logits, labels) + penalty()

    return total


def super_convolutions(network: nn.Module) -> dict[str, SearchedConv3d]:
    """The searched convolutions of a network by module path, in the order it was built."""
    return {name: part for name, part in network.named_modules() if isinstance(part, SearchedConv3d)}


def gate_penalty(modules: Sequence[SearchedConv3d], strength: float) -> Penalty:
    """L1 over gates, each weighted by its kernel's share of all taps: the cost priority of CAKES.

    3D : 2D : 1D kernels of three taps an axis come to 9 : 3 : 1.
    """
    weights = [_tap_shares(part.kernels)[:, None].to(part.gates.device) for part in modules]

    def penalty() -> Tensor:
        parts = [(weight * part.gates.abs()).sum() for weight, part in zip(weights, modules, strict=True)]
        return strength * torch.stack(parts).sum()

    return penalty


def budget_penalty(modules: Mapping[Site, SampledConv3d], budget: Budget, *, strength: float) -> Penalty:
    """Squared logarithm of expected cost over budget."""
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
