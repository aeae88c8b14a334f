"""Depth-wise, channel or spatial decomposition of a whole trained network."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from app.compress.allocate import Choice, allocate
from app.compress.method import Method
from app.compress.samples import Rows, sample_rows
from app.compress.task import UNKNOWN, ConvTask, following
from app.core.errors import InputError
from app.models.checkpoint import Weights
from app.models.network import NetworkSpec, build_named, list_convolutions, to_device
from app.ops import ConvSpec, Cost
from app.ops.decomposed import Decomposed, Factors
from app.ops.grouped import build_chain, chain_cost
from app.ops.latency import latency_ms
from app.ops.plain import Conv3d

Price = Callable[[Callable[[], nn.Module], Cost, tuple[int, int, int, int]], float]
"""What makes a module, its cost and the (C, D, H, W) it sees -> what is to be saved."""
PRICES: dict[str, Price] = {
    "params": lambda _make, cost, _seen: cost.params,
    "macs": lambda _make, cost, _seen: cost.macs,
    "latency": lambda make, _cost, seen: latency_ms(make(), (1, *seen)),
}


@dataclass(frozen=True)
class Decomposition:
    """The decomposed network, and what was chosen for each convolution that could be."""

    spec: NetworkSpec
    weights: Weights
    chosen: Mapping[str, Choice]
    dense: Mapping[str, nn.Conv3d]
    """The convolutions as they were trained."""


def decompose(
    spec: NetworkSpec,
    weights: Weights,
    patches: Sequence[Tensor],
    method: Method,
    *,
    seed: int,
    advance: Callable[[], None],
) -> Decomposition:
    """Choose ranks under the budget, then fit convolution by convolution, forwards.

    `patches` (B, C, D, H, W) are the only data seen, at places by `seed`. `advance` is called after each
    convolution.

    Raises:
        InputError: no convolution can be decomposed, or the budget is below the least possible.
    """
    original, paths = _trained(spec, weights)
    current = copy.deepcopy(original)
    convs = {name: original.get_submodule(path) for name, path in paths.items()}
    dense = {
        name: conv for name, conv in convs.items() if isinstance(conv, nn.Conv3d) and _decomposable(conv)
    }
    if not dense:
        raise InputError("compress.model: got no dense convolution that could be decomposed")
    settings = method.settings
    look = partial(sample_rows, patches=patches, rows=settings.rows, seed=seed)
    rows = look(original, dense)
    after = {name: following(original, paths[name]) if settings.fits("data") else UNKNOWN for name in dense}
    tasks = {name: ConvTask(conv, rows[name], after[name]) for name, conv in dense.items()}
    chosen = _chosen(spec, original, tasks, method)
    for name, choice in chosen.items():
        if choice.factors is not None:
            task = tasks.pop(name)
            if settings.fits("asymmetric"):
                here = current.get_submodule(paths[name])
                assert isinstance(here, nn.Conv3d)
                seen = look(current, {name: here})
                task = replace(task, rows=Rows(seen[name].inputs, task.rows.outputs))
            current.set_submodule(paths[name], method.fit(task, choice.factors))
        advance()
    return Decomposition(_described(spec, chosen), current.state_dict(), chosen, dense)


def count_decomposable(spec: NetworkSpec) -> int:
    """How many convolutions `decompose` will advance over."""
    with torch.device("meta"):
        network, paths = build_named(spec)
    return sum(_decomposable(network.get_submodule(path)) for path in paths.values())


def _trained(spec: NetworkSpec, weights: Weights) -> tuple[nn.Module, dict[str, str]]:
    network, paths = build_named(spec)
    network.load_state_dict(weights)
    return to_device(network, torch.device("cpu")).eval(), paths


def _decomposable(module: nn.Module) -> bool:
    """Dense, over more than a voxel and a channel: one channel is depthwise already."""
    if not isinstance(module, nn.Conv3d) or module.groups > 1:
        return False
    return module.in_channels > 1 and module.weight[0, 0].numel() > 1


def _chosen(
    spec: NetworkSpec, network: nn.Module, tasks: Mapping[str, ConvTask], method: Method
) -> dict[str, Choice]:
    specs = {conv.name: conv for conv in list_convolutions(spec.model, spec.shape)}
    price = PRICES[method.settings.unit]
    patch = spec.shape.patch
    assert patch is not None
    whole = price(lambda: network, spec.cost(patch), (spec.shape.in_channels, *patch))
    choices = {name: _choices(specs[name], task, method, price) for name, task in tasks.items()}
    dense = sum(options[-1].cost for options in choices.values())
    return allocate(choices, method.settings.budget * whole - (whole - dense))


def _choices(conv: ConvSpec, task: ConvTask, method: Method, price: Price) -> list[Choice]:
    """Every rank that saves something, and last the dense convolution."""
    assert conv.size is not None
    energies = method.energies(task)
    lost = 1 - energies.cumsum(0) / energies.sum().clamp_min(torch.finfo(energies.dtype).tiny)
    seen = (conv.in_channels, *conv.size)
    dense = Choice(None, price(lambda: task.conv, Conv3d().cost(conv, conv.size), seen), 0.0)
    choices = []
    for rank in _ranks(len(energies), method.settings.unit):
        factors = method.factors(conv, rank)
        chain = factors.chain(conv)
        cost = price(lambda chain=chain: build_chain(chain), chain_cost(chain, conv.size), seen)  # type: ignore[misc]
        if cost < dense.cost:
            choices.append(Choice(factors, cost, max(0.0, float(lost[rank - 1]))))
    return [*choices, dense]


def _ranks(most: int, unit: str) -> list[int]:
    """Every rank; where each has to be timed, ever fewer."""
    if unit != "latency":
        return list(range(1, most + 1))
    powers = [2**power for power in range(most.bit_length())]
    return sorted(rank for rank in {*powers, *(3 * power // 2 for power in powers)} if rank <= most)


def _described(spec: NetworkSpec, chosen: Mapping[str, Choice]) -> NetworkSpec:
    named: dict[str, Factors] = {
        n: choice.factors for n, choice in chosen.items() if choice.factors is not None
    }
    encoder = Decomposed(spec.encoder, named)
    decoder = encoder if spec.decoder == spec.encoder else Decomposed(spec.decoder, named)
    return replace(spec, encoder=encoder, decoder=decoder)
