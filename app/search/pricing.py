"""The costs of whole networks as shares of their budgets, including widths, decoder and upsampling."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from app.core.errors import InputError
from app.core.layout import Layout, Outline
from app.core.types import Size
from app.layers.cost import Cost, strided
from app.models.network import NetworkSpec, build_named, list_convolutions
from app.models.unet import UNetModel, with_decoder
from app.operators import ConvSpec
from app.operators.mixed import Mixed
from app.operators.plain import Conv3d


def outline_of(spec: NetworkSpec) -> Outline:
    """Return the levels of a network.

    Raises:
        InputError: the widths of this model cannot be searched.
    """
    if not isinstance(spec.model, UNetModel):
        raise InputError(
            f"search.method: got race or search.space=network with {type(spec.model).__name__}, wanted "
            "model=unet or model=resunet"
        )
    shape = spec.shape
    return Outline(shape.widths, shape.strides, shape.kernels, spec.model.decoder_width)


def outlined(spec: NetworkSpec, outline: Outline) -> NetworkSpec:
    """Return the network with the levels of an outline and the same operators."""
    shape = replace(spec.shape, widths=outline.widths, strides=outline.strides, kernels=outline.kernels)
    return replace(spec, model=with_decoder(spec.model, outline.decoder_width), shape=shape)


def laid_out_network(spec: NetworkSpec, layout: Layout) -> NetworkSpec:
    """Return the network with a layout and its levels; convolutions it does not name are as in `spec`."""
    assert layout.network is not None
    return outlined(spec, layout.network).redesigned(Mixed(Layout(layout.convolutions)))


class Counted:
    """A function from a layout to the number of weights or multiply-adds of its network."""

    def __init__(self, spec: NetworkSpec, patch: Size, kind: str) -> None:
        """Count `kind`, params or macs, of the network `spec`, whose convolutions layouts replace."""
        self._spec = replace(spec, shape=replace(spec.shape, patch=patch))
        self._kind = kind
        self._known: dict[Outline, tuple[float, tuple[ConvSpec, ...]]] = {}
        """For each outline, the cost of everything except spatial convolutions, and these convolutions."""

    def __call__(self, layout: Layout) -> float:
        """Return the cost of the network with a layout."""
        assert layout.network is not None
        if layout.network not in self._known:
            dense = outlined(replace(self._spec, encoder=Conv3d(), decoder=Conv3d()), layout.network)
            convolutions = list_convolutions(dense.model, dense.shape)
            self._known[layout.network] = self._number(_others(dense, convolutions)), convolutions
        cost, convolutions = self._known[layout.network]
        mixed = Mixed(layout)
        for conv in convolutions:
            assert conv.size is not None
            usual = self._spec.decoder if conv.name.startswith("decoder") else self._spec.encoder
            operator = mixed if conv.name in layout.convolutions else usual
            cost += self._number(operator.cost(conv, conv.size))
        return cost

    def _number(self, cost: Cost) -> float:
        return float(cost.params if self._kind == "params" else cost.macs)


def _others(dense: NetworkSpec, convolutions: Sequence[ConvSpec]) -> Cost:
    """Return the cost of a U-Net without spatial convolutions: norms, projections, upsampling, finest head.

    Other heads are used in training only, so their multiply-adds do not count. The second part of a module's
    name is its level. A transposed convolution multiplies once for each voxel of its input.
    """
    voxels = {
        conv.level: math.prod(strided(conv.size, conv.stride))
        for conv in reversed(convolutions)
        if conv.size is not None and conv.name.startswith("encoder")
    }
    with torch.device("meta"):
        network, paths = build_named(replace(dense, shape=replace(dense.shape, regions=())))
    spatial = tuple(f"{path}." for path in paths.values())
    found = Cost(0, 0)
    for name, module in network.named_modules():
        if f"{name}.".startswith(spatial):
            continue
        weights = {key: values.numel() for key, values in module.named_parameters(recurse=False)}
        macs = 0
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            part, level = name.split(".")[0], int(name.split(".")[1])
            runs = part != "heads" or level == 0
            macs = runs * weights["weight"] * voxels[level + 1 if part == "up" else level]
        found += Cost(sum(weights.values()), macs)
    return found


@dataclass(frozen=True)
class Prices:
    """A function from a layout to the costs of its network, each divided by its budget.

    The first budget is to be used up.
    """

    budgets: Mapping[str, float]
    """The largest cost, by kind of cost."""
    costs: Mapping[str, Callable[[Layout], float]]

    def __call__(self, layout: Layout) -> list[float]:
        """Return one value per budget, at most 1 if the network keeps it."""
        return [self.costs[kind](layout) / budget for kind, budget in self.budgets.items()]
