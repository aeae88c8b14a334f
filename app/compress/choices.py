"""The possible ranks of a convolution, each with its cost and its error in the network's output."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from app.compress.allocate import RankChoice
from app.compress.fits.conv_fit import ConvTask
from app.compress.fits.method import DecompositionMethod
from app.core.types import as_size
from app.layers.cost import Cost
from app.layers.grouped import build_chain, chain_cost
from app.layers.latency import latency_ms
from app.operators import ConvSpec
from app.operators.decomposed import Factors
from app.operators.plain import Conv3d

Price = Callable[[Callable[[], nn.Module], Cost, tuple[int, int, int, int]], float]
"""A function that returns the cost of a convolution.

Its arguments are a function that builds the module, the module's `Cost`, and its input size (C, D, H, W).
"""
PRICES: dict[str, Price] = {
    "params": lambda _make, cost, _seen: cost.params,
    "macs": lambda _make, cost, _seen: cost.macs,
    "latency": lambda make, _cost, seen: latency_ms(make(), (1, *seen)),
}
_LEAST = 1e-12  # smaller errors count as equal
_ENOUGH = 1e-3  # share of the output's energy; smaller losses are negligible


def list_choices(conv: ConvSpec, task: ConvTask, method: DecompositionMethod) -> list[RankChoice]:
    """Return every rank that costs less than the dense convolution, and the dense convolution last.

    Errors are shares of the energy of the convolution's response.
    """
    conv = replace(conv, kernel=as_size(task.conv.kernel_size))  # fewer axes within slices
    assert conv.size is not None
    energies = method.energies(task)
    lost = 1 - energies.cumsum(0) / energies.sum().clamp_min(torch.finfo(energies.dtype).tiny)
    price, seen = PRICES[method.settings.cost], (conv.in_channels, *conv.size)
    dense = RankChoice(None, price(lambda: task.conv, Conv3d().cost(conv, conv.size), seen), 0.0)
    choices = []
    for rank in _ranks(len(energies), method.settings.cost):
        factors = method.factors(conv, rank)
        chain = factors.chain(conv)
        cost = price(lambda chain=chain: build_chain(chain), chain_cost(chain, conv.size), seen)  # type: ignore[misc]
        if cost < dense.cost:
            choices.append(RankChoice(factors, cost, max(0.0, float(lost[rank - 1]))))
    return [*choices, dense]


def judge(choices: Sequence[RankChoice], error: Callable[[Factors], float]) -> list[RankChoice]:
    """Return the choices with errors of the network's output, measured by `error` for one choice at a time.

    A convolution near the output may lose much less of its response than a deep one for the same error of the
    output. The error is measured for the first, second, fourth, eighth ... choice until it is negligible. In
    between, the ratio of the output's error to the response's error is interpolated on a logarithmic scale.
    """
    *decomposed, dense = choices
    places: list[int] = []
    ratios: list[float] = []
    for place in (2**power - 1 for power in range(len(decomposed).bit_length())):
        choice = decomposed[place]
        assert choice.factors is not None
        found = error(choice.factors)
        places.append(place)
        ratios.append(math.log(max(found, _LEAST) / max(choice.error, _LEAST)))
        if found < _ENOUGH:
            break
    if not places:
        return [dense]
    between = np.exp(np.interp(np.log1p(np.arange(len(decomposed))), np.log1p(places), ratios))
    weighed = [replace(c, error=c.error * float(r)) for c, r in zip(decomposed, between, strict=True)]
    return [*weighed, dense]


def _ranks(most: int, cost: str) -> list[int]:
    """Return the ranks to try: all, or fewer and fewer if each has to be timed."""
    if cost != "latency":
        return list(range(1, most + 1))
    powers = [2**power for power in range(most.bit_length())]
    return sorted(rank for rank in {*powers, *(3 * power // 2 for power in powers)} if rank <= most)
