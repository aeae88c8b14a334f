"""Receptive field, score and cost of each convolution of a network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from app.analyze.score import capped, field_score
from app.analyze.walk import fields
from app.core.errors import InputError
from app.core.types import Size, Spacing, as_spacing
from app.layers.latency import latency_ms
from app.models.network import NetworkSpec, build_named, list_convolutions


@dataclass(frozen=True)
class Layer:
    """One convolution of the network; fields are in input voxels along (D, H, W), over output channels."""

    name: str
    jump: Spacing
    field_min: Spacing
    field_mean: Spacing
    field_max: Spacing
    channels: float
    """Channels of its stage's input that an output channel sees, on average."""
    score: float
    gain: float
    """Score minus the score of the convolution before."""
    params: int
    macs: int
    latency_ms: float | None


def layers(spec: NetworkSpec, patch: Size) -> list[Layer]:
    """Return every spatial convolution in the order of computation.

    Fields and scores are capped at the patch.

    Raises:
        InputError: the network contains an operation whose connection is unknown, or none of our
            convolutions.
    """
    spec = _seeing(spec, patch)
    with torch.device("meta"):
        network, paths = build_named(spec)
    if not paths:
        kind = spec.model.describe()["kind"]
        raise InputError(
            f"mode=analyze: got {kind}, which has its own convolutions, wanted model=unet or model=resunet"
        )
    stages = {name: name.rpartition(".")[0] for name in paths}
    found = fields(network.eval(), spec.shape.in_channels, paths.values(), set(stages.values()))
    made: list[Layer] = []
    convs = {paths[conv.name]: conv for conv in list_convolutions(spec.model, spec.shape)}
    for path, field in found.items():
        conv = convs[path]
        size, value = capped(field, patch), field_score(field, patch)
        operator = spec.decoder if conv.name.startswith("decoder") else spec.encoder
        assert conv.size is not None
        cost = operator.cost(conv, conv.size)
        made.append(
            Layer(
                name=conv.name,
                jump=as_spacing(field.jump.tolist()),
                field_min=as_spacing(size.min(axis=0).tolist()),
                field_mean=as_spacing(size.mean(axis=0).tolist()),
                field_max=as_spacing(size.max(axis=0).tolist()),
                channels=float(field.channels.mean()),
                score=value,
                gain=value - (made[-1].score if made else 0.0),
                params=cost.params,
                macs=cost.macs,
                latency_ms=None,
            )
        )
    return made


def timed(spec: NetworkSpec, patch: Size, found: Sequence[Layer]) -> list[Layer]:
    """Return the layers with the time in milliseconds of each convolution on its input for one patch."""
    spec = _seeing(spec, patch)
    network, paths = build_named(spec)
    seen = {
        conv.name: (1, conv.in_channels, *(conv.size or patch))
        for conv in list_convolutions(spec.model, spec.shape)
    }
    return [
        replace(
            layer, latency_ms=latency_ms(network.get_submodule(paths[layer.name]).eval(), seen[layer.name])
        )
        for layer in found
    ]


def objective(found: Sequence[Layer]) -> float:
    """Return the mean score of the convolutions: a mean logarithm of how much they see."""
    return float(np.mean([layer.score for layer in found]))


def _seeing(spec: NetworkSpec, patch: Size) -> NetworkSpec:
    """Return the network for another patch; regions have no effect before its last convolution."""
    return replace(spec, shape=replace(spec.shape, patch=patch, regions=()))
