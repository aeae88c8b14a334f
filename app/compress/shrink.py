"""A trained dense network reduced to one sub-kernel per output channel, chosen under a budget and fitted.

Unlike a search, this starts from trained weights.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.compress.answer import Answer
from app.compress.fits.conv_fit import UNKNOWN, following
from app.compress.fits.samples import ROWS_PER_FEATURE, Rows, sample_rows
from app.compress.fits.subkernels import FittedKernels, fit_kernels, refit_kernels, taps_of
from app.compress.network import trained_network
from app.core.errors import InputError
from app.core.types import as_size
from app.models.checkpoint import Weights
from app.models.network import NetworkSpec
from app.operators.supernet import SampledConv3d
from app.search.costs import Site
from app.search.decode import Decoded, KernelScores, assign_slots
from app.search.penalty import super_convolutions
from app.search.search import searched_sites

_LEAST = 1e-12  # the smallest energy of an error, to divide by


@dataclass(frozen=True)
class Shrunk:
    """The super-network's weights after each channel has chosen, and the decoded layout."""

    weights: Weights
    decoded: Decoded
    answer_lost: float
    """Error of the shrunk network's output as a share of the output's energy, before further training."""


def shrink(
    trained: NetworkSpec,
    weights: Weights,
    searched: NetworkSpec,
    decode: Callable[[KernelScores], Decoded],
    patches: Sequence[Tensor],
    *,
    distill: bool,
    rows: int,
    seed: int,
    advance: Callable[[], None],
) -> Shrunk:
    """Fit every kernel to every channel, decode a layout from the losses, then refit the chosen kernels.

    `searched` is `trained` with a super-network of separate weights. With `distill` candidates are fitted to
    about `rows` rows of each convolution on `patches` (B, C, D, H, W), or more if it has many inputs;
    otherwise they are cut out of the trained weights. The loss of a channel is weighted by how much its
    convolution affects the network's output. `advance` is called twice for each searched convolution.

    Raises:
        InputError: a searched convolution is not dense or lacks taps of a kernel, or no layout meets the
            budget.
    """
    original, paths = trained_network(trained, weights)
    sites = searched_sites(searched)
    convs = {site.conv.name: _dense(original, paths[site.conv.name], site) for site in sites}
    look = partial(sample_rows, patches=patches, rows=rows, seed=seed, per_feature=ROWS_PER_FEATURE)
    seen = look(original, convs) if distill else {}
    answer = Answer(original, patches[0])
    fitted, scores = {}, {}
    for site in sites:
        name = site.conv.name
        after = following(original, paths[name]) if distill else UNKNOWN
        fitted[name] = fit_kernels(convs[name], site.kernels, seen.get(name), after)
        scores[name] = _scores(answer, paths[name], convs[name], site, fitted[name])
        advance()
    decoded = decode(scores)
    chosen = {
        site.conv.name: assign_slots(site, decoded.counts[site.conv.name], scores[site.conv.name])
        for site in sites
    }
    current = copy.deepcopy(original)
    kept: dict[str, tuple[Tensor, ...]] = {}
    places = {name: place for place, name in enumerate(seen)}  # in the order of the network's computation
    for site in sorted(sites, key=lambda site: places.get(site.conv.name, 0)):
        name = site.conv.name
        kept[name] = fitted[name].weights
        if distill:
            here = {name: _dense(current, paths[name], site)}
            both = Rows(look(current, here)[name].inputs, seen[name].outputs)
            kept[name] = refit_kernels(convs[name], site.kernels, torch.from_numpy(chosen[name]), both)
        current.set_submodule(paths[name], _embedded(convs[name], site, kept[name], chosen[name]))
        advance()
    network = _filled(searched, original, sites, kept, chosen)
    return Shrunk(network.state_dict(), decoded, answer.lost(current))


def _dense(network: nn.Module, path: str, site: Site) -> nn.Conv3d:
    conv = network.get_submodule(path)
    if not isinstance(conv, nn.Conv3d) or conv.groups != 1:
        raise InputError(
            f"search.model: got {type(conv).__name__} for {site.conv.name}, wanted a network of dense "
            "convolutions (op=conv3d)"
        )
    size = as_size(conv.kernel_size)
    outside = [
        str(kernel)
        for kernel in site.kernels
        if any(extent > taps for extent, taps in zip(kernel.extent, size, strict=True))
    ]
    if outside:
        raise InputError(
            f"search.kernels: got {', '.join(outside)}, wanted parts of {site.conv.name}'s kernel, "
            + "x".join(map(str, size))
        )
    return conv


def _scores(
    answer: Answer, path: str, conv: nn.Conv3d, site: Site, fitted: FittedKernels
) -> NDArray[np.float64]:
    """Return minus the loss of the network's output for each (kernel, slot), as (kernels, slots).

    The output's loss is measured once per convolution, with the best kernel in each channel except the whole
    one. The losses of single channels are scaled by the ratio of this loss to their sum.
    """
    errors = fitted.errors.numpy()
    smaller = [i for i, kernel in enumerate(site.kernels) if kernel.size != as_size(conv.kernel_size)]
    if not smaller:
        return -errors
    choice = np.array(smaller)[errors[smaller].argmin(0)]
    lost = answer.error(path, _embedded(conv, site, fitted.weights, choice))
    of_channels = float(errors[choice, np.arange(errors.shape[1])].sum())
    found: NDArray[np.float64] = -errors * (max(lost, _LEAST) / max(of_channels, _LEAST))
    return found


@torch.no_grad()
def _embedded(conv: nn.Conv3d, site: Site, weights: Sequence[Tensor], chosen: NDArray[np.int64]) -> nn.Conv3d:
    """Return the convolution with the chosen kernel's weights in each channel and zeros elsewhere."""
    changed = copy.deepcopy(conv)
    flat = torch.zeros_like(conv.weight.flatten(1))
    for index, kernel in enumerate(site.kernels):
        slots = torch.from_numpy(np.flatnonzero(chosen == index))
        flat[slots[:, None], taps_of(kernel, conv)] = weights[index][slots].flatten(1)
    changed.weight.copy_(flat.view_as(conv.weight))
    return changed


@torch.no_grad()
def _filled(
    searched: NetworkSpec,
    original: nn.Module,
    sites: Sequence[Site],
    weights: Mapping[str, Sequence[Tensor]],
    chosen: Mapping[str, NDArray[np.int64]],
) -> nn.Module:
    """Return the super-network with these candidates and choices, and trained weights for the rest."""
    network = searched.build()
    network.load_state_dict(original.state_dict(), strict=False)
    for site, part in zip(sites, super_convolutions(network).values(), strict=True):
        assert isinstance(part, SampledConv3d)
        name = site.conv.name
        for index, weight in enumerate(weights[name]):
            part.candidates.of(index).copy_(weight)
        part.keep(torch.from_numpy(chosen[name]))
    return network
