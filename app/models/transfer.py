"""Transfer of weights from a trained network to another: by tensor name and shape, and by channel name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from app.models.checkpoint import Checkpoint, Weights
from app.models.network import NetworkSpec
from app.models.regions import without_labels

_WRAPPED = "network."  # prefix of tensor names in a network that learns regions


@dataclass(frozen=True)
class Transfer:
    """A record of which tensors of a network were copied from another network, by name."""

    taken: tuple[str, ...]
    channels: tuple[str, ...]
    """Tensors among `taken` whose input channels were chosen by name or averaged."""
    fresh: dict[str, str]
    """Tensors that keep their initial values, with the reason."""


@torch.no_grad()
def transfer(
    network: nn.Module,
    spec: NetworkSpec,
    origin: Checkpoint,
    *,
    modalities: Sequence[str],
    labels: Sequence[str],
) -> Transfer:
    """Copy the tensors of `origin` that fit into `network`, built by `spec` for these channels and labels.

    A tensor fits if its name and shape are the same. The output layer fits only if labels and regions are the
    same. In the first layers, an input channel takes the weights of the channel with its name, or the mean
    over all channels if there is none. If the number of channels differs, the weights are scaled by the ratio
    of the numbers. Nothing is copied unless the weights of at least one convolution fit, because scales and
    shifts of norms alone are of no use.
    """
    target, theirs = without_labels(network), _weights(origin)
    same_labels = (tuple(labels), spec.shape.regions) == (origin.labels, origin.network.shape.regions)
    same_channels = tuple(modalities) == origin.modalities
    heads = set() if same_labels else _following(spec, classes=spec.shape.classes + 1)
    inputs = set() if same_channels else _following(spec, in_channels=spec.shape.in_channels + 1)
    values: Weights = {}
    fresh: dict[str, str] = {}
    own_tensors = target.state_dict()
    for name, own in own_tensors.items():
        found = theirs.get(name)
        if found is None:
            fresh[name] = "no such tensor"
        elif name in heads:
            fresh[name] = "other labels"
        else:
            if name in inputs:
                found = _for_channels(found, origin.modalities, modalities)
            if found.shape == own.shape:
                values[name] = found
            else:
                fresh[name] = f"shape {list(theirs[name].shape)}, wanted {list(own.shape)}"
    if not any(value.dim() > 1 for value in values.values()):
        return Transfer((), (), fresh)
    for name, value in values.items():
        own_tensors[name].copy_(value)
    return Transfer(tuple(values), tuple(name for name in values if name in inputs), fresh)


def _weights(origin: Checkpoint) -> Weights:
    """Return the weights for inference by their names in a network without regions."""
    found = origin.inference_weights
    if not origin.network.shape.regions:
        return found
    return {name.removeprefix(_WRAPPED): values for name, values in found.items()}


def _following(spec: NetworkSpec, **changed: Any) -> set[str]:
    """Return the names of tensors that change shape, or are gone, if the network has the values `changed`."""
    with torch.device("meta"):
        own, other = (
            spec.model.build(shape, spec.encoder, spec.decoder).state_dict()
            for shape in (spec.shape, replace(spec.shape, **changed))
        )
    return {name for name, values in own.items() if name not in other or values.shape != other[name].shape}


def _for_channels(weights: Tensor, theirs: Sequence[str], ours: Sequence[str]) -> Tensor:
    """Return convolution weights (out, in, k, k, k) adapted to other input channels.

    Other tensors are returned unchanged.
    """
    if weights.dim() < 2 or weights.shape[1] != len(theirs):
        return weights
    mean = weights.mean(1)
    chosen = [weights[:, theirs.index(name)] if name in theirs else mean for name in ours]
    return len(theirs) / len(ours) * torch.stack(chosen, 1)
