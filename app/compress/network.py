"""Decomposition of a whole trained network: depthwise, channel or spatial."""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from app.compress.allocate import RankChoice, allocate
from app.compress.answer import Answer
from app.compress.choices import PRICES, judge, list_choices
from app.compress.fits.conv_fit import UNKNOWN, ConvTask, following
from app.compress.fits.method import DecompositionMethod
from app.compress.fits.samples import Rows, sample_rows
from app.core.errors import InputError
from app.models.checkpoint import Weights
from app.models.network import NetworkSpec, build_named, list_convolutions, to_device
from app.operators.decomposed import Decomposed, Factors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decomposition:
    """A decomposed network, and the choice for each convolution that could be decomposed."""

    spec: NetworkSpec
    weights: Weights
    chosen: Mapping[str, RankChoice]
    dense: Mapping[str, nn.Conv3d]
    """The trained dense convolutions."""


def decompose(
    spec: NetworkSpec,
    weights: Weights,
    patches: Sequence[Tensor],
    method: DecompositionMethod,
    *,
    seed: int,
    advance: Callable[[], None],
) -> Decomposition:
    """Choose ranks under the budget, then fit one convolution after the other from input to output.

    `patches` (B, C, D, H, W) are the only data used, at places that depend on `seed`. `advance` is called
    twice for each convolution: when its choices are known and when it is replaced.

    Raises:
        InputError: no convolution can be decomposed, or the budget is below the least possible.
    """
    original, paths = trained_network(spec, weights)
    dense = _dense(original, paths)
    if not dense:
        raise InputError("compress.model: got a network without dense convolutions; train one with op=conv3d")
    settings = method.settings
    look = partial(sample_rows, patches=patches, rows=settings.rows, seed=seed)
    rows = look(original, dense)
    after = {name: following(original, paths[name]) if settings.fits("data") else UNKNOWN for name in dense}
    tasks = {name: ConvTask(dense[name], seen, after[name]) for name, seen in rows.items()}
    bent = sum(task.following.slope is not None for task in tasks.values())
    if settings.fits("activation") and bent < len(tasks):
        log.warning(
            "compress.fit=activation: applies to %d of %d convolutions, because it needs an instance norm "
            "and a ReLU or leaky ReLU after them; the others are fitted as by asymmetric",
            *(bent, len(tasks)),
        )
    convs = {conv.name: conv for conv in list_convolutions(spec.model, spec.shape)}
    answer = Answer(original, patches[0])
    options: dict[str, list[RankChoice]] = {}
    for name, task in tasks.items():
        options[name] = list_choices(convs[name], task, method)
        if settings.fits("data"):
            fit = partial(replace(method, settings=replace(settings, fit="data")).fit, task)  # no slow sweeps
            options[name] = judge(options[name], partial(_lost, answer, paths[name], fit))
        advance()
    chosen = allocate(options, _left(spec, original, options, method))
    current = copy.deepcopy(original)
    for name, choice in chosen.items():
        if choice.factors is not None:
            task = tasks.pop(name)
            if settings.fits("asymmetric"):
                task = _as_seen(current, paths[name], task, look)
            current.set_submodule(paths[name], method.fit(task, choice.factors))
        advance()
    return Decomposition(_described(spec, chosen), current.state_dict(), chosen, dense)


def count_decomposable(spec: NetworkSpec) -> int:
    """Return the number of convolutions that `decompose` will examine and replace."""
    with torch.device("meta"):
        return len(_dense(*build_named(spec)))


def trained_network(spec: NetworkSpec, weights: Weights) -> tuple[nn.Module, dict[str, str]]:
    """Return the network in eval mode on the CPU, and the path of each convolution's module by its name."""
    network, paths = build_named(spec)
    network.load_state_dict(weights)
    return to_device(network, torch.device("cpu")).eval(), paths


def _dense(network: nn.Module, paths: Mapping[str, str]) -> dict[str, nn.Conv3d]:
    """Return the dense convolutions over more than one voxel and one channel (one is already depthwise)."""
    convs = ((name, network.get_submodule(path)) for name, path in paths.items())
    return {
        name: conv
        for name, conv in convs
        if isinstance(conv, nn.Conv3d)
        and conv.groups == 1
        and conv.in_channels > 1
        and conv.weight[0, 0].numel() > 1
    }


def _lost(answer: Answer, path: str, fit: Callable[[Factors], nn.Module], factors: Factors) -> float:
    """Return the share of the network's output that is lost with one convolution decomposed."""
    return answer.error(path, fit(factors))


def _left(
    spec: NetworkSpec,
    network: nn.Module,
    options: Mapping[str, Sequence[RankChoice]],
    method: DecompositionMethod,
) -> float:
    """Return the budget minus the cost of everything that cannot be decomposed."""
    patch, price = spec.shape.patch, PRICES[method.settings.cost]
    assert patch is not None
    whole = price(lambda: network, spec.cost(patch), (spec.shape.in_channels, *patch))
    dense = sum(choices[-1].cost for choices in options.values())
    return method.settings.budget * whole - (whole - dense)


def _as_seen(network: nn.Module, path: str, task: ConvTask, look: Callable[..., dict[str, Rows]]) -> ConvTask:
    """Return the task with the inputs that this network, decomposed up to here, produces."""
    here = network.get_submodule(path)
    return replace(task, rows=Rows(look(network, {path: here})[path].inputs, task.rows.outputs))


def _described(spec: NetworkSpec, chosen: Mapping[str, RankChoice]) -> NetworkSpec:
    named: dict[str, Factors] = {
        n: choice.factors for n, choice in chosen.items() if choice.factors is not None
    }
    encoder = Decomposed(spec.encoder, named)
    decoder = encoder if spec.decoder == spec.encoder else Decomposed(spec.decoder, named)
    return replace(spec, encoder=encoder, decoder=decoder)
