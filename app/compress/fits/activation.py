"""Fits of the response after the activation, so that values it cuts off need not be reproduced.

The penalty method of Zhang et al., arXiv 1411.4229 and 1505.06798: an auxiliary response is moved towards
values that the activation maps to the wanted output, and the solution is fitted to it again.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

_Solution = TypeVar("_Solution")
Fit = Callable[[Tensor], tuple[_Solution, Tensor]]
"""A function from a target response (row, out) to the best solution and its response."""


def auxiliary(wanted: Tensor, response: Tensor, *, penalty: float, slope: float) -> Tensor:
    """Return the u that minimises (wanted - act(u))^2 + penalty (u - response)^2 for each element.

    `act` is a leaky ReLU. Each of its two sides has its own minimum; the lower one is taken.
    """
    below = ((slope * wanted + penalty * response) / (slope**2 + penalty)).clamp_max(0)
    above = ((wanted + penalty * response) / (1 + penalty)).clamp_min(0)
    costs = [
        (wanted - F.leaky_relu(u, slope)).square() + penalty * (u - response).square() for u in (below, above)
    ]
    return torch.where(costs[0] <= costs[1], below, above)


def through_activation(
    wanted: Tensor,
    start: tuple[_Solution, Tensor],
    fit: Fit[_Solution],
    *,
    slope: float,
    rounds: int = 50,
) -> tuple[_Solution, float]:
    """Return the solution whose response is nearest to `wanted` after the activation, and its error.

    `start` is the linear solution. The error may rise between rounds, so the best solution is kept. The
    penalty is 0.1 for three fifths of the rounds, then 1: the proportion in the authors' public code, which
    uses 50 rounds.
    """
    early = -(-3 * rounds // 5)
    best, response = start
    least = _error(wanted, response, slope)
    for penalty, steps in ((0.1, early), (1.0, rounds - early)):
        for _ in range(steps):
            solution, response = fit(auxiliary(wanted, response, penalty=penalty, slope=slope))
            error = _error(wanted, response, slope)
            if error < least:
                best, least = solution, error
    return best, least


def _error(wanted: Tensor, response: Tensor, slope: float) -> float:
    return float((wanted - F.leaky_relu(response, slope)).norm())
