"""Frozen parameters, and learning rates that fall from the output towards the input."""

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from app.core.errors import InputError
from app.core.types import Size
from app.models.network import NetworkSpec
from app.models.regions import without_labels

log = logging.getLogger(__name__)


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Exclude the parameters whose names match a pattern such as encoder.* from the training.

    Raises:
        InputError: a pattern matches nothing, or nothing is left to train.
    """
    own = dict(without_labels(network).named_parameters())
    for pattern in patterns:
        matched = [values for name, values in own.items() if fnmatchcase(name, pattern)]
        if not matched:
            layers = ", ".join(f"{layer}.*" for layer in dict.fromkeys(map(_layer, own)))
            raise InputError(
                f"train.freeze: got {pattern!r}, which matches no parameter; the layers are {layers}"
            )
        for values in matched:
            values.requires_grad_(False)
    frozen = [values.numel() for values in own.values() if not values.requires_grad]
    if len(frozen) == len(own):
        raise InputError(f"train.freeze: got {list(patterns)}, which leaves no parameter to train")
    if frozen:
        every = sum(values.numel() for values in own.values())
        log.info(
            "train.freeze: %d of %d tensors, %.0f %% of the parameters, are not trained",
            *(len(frozen), len(own), 100 * sum(frozen) / every),
        )


def parameter_groups(
    network: nn.Module, spec: NetworkSpec, patch: Size, decay: float | None
) -> tuple[list[dict[str, Any]], list[float]]:
    """Return groups of parameters for an optimizer, and the factor on each group's learning rate.

    With `decay` there is one group per layer, beginning at the output: the rate of each layer is `decay`
    times the rate of the layer after it (Clark et al., ELECTRA, ICLR 2020, as in BEiT and MAE).
    """
    own = without_labels(network).named_parameters()
    trained = {name: values for name, values in own if values.requires_grad}
    if decay is None:
        return [{"params": list(trained.values())}], [1.0]
    groups, factors = [], []
    for distance, names in enumerate(reversed(layers_in_order(spec, patch))):
        inside = [trained[name] for name in names if name in trained]
        if inside:
            groups.append({"params": inside})
            factors.append(decay**distance)
    return groups, factors


def scale_rates(schedule: LRScheduler, factors: Sequence[float]) -> None:
    """Multiply the learning rate of each group of a schedule's optimizer for all later steps."""
    schedule.base_lrs = [rate * factor for rate, factor in zip(schedule.base_lrs, factors, strict=True)]
    for group, factor in zip(schedule.optimizer.param_groups, factors, strict=True):
        for key in ("lr", "initial_lr", "max_lr", "min_lr"):
            if key in group:
                group[key] = factor * group[key]


def layers_in_order(spec: NetworkSpec, patch: Size) -> list[list[str]]:
    """Return the names of a network's parameters by layer, from the input to the output.

    A layer is the set of parameters that share their name up to the first number, for example encoder.0.
    Layers are sorted in the order in which they compute. Parameters that no prediction uses (heads of deep
    supervision) belong to the last layer.
    """
    with torch.device("meta"):
        network = without_labels(spec.build()).eval()
        order: dict[str, list[str]] = {}
        for path, module in network.named_modules():
            if next(module.parameters(recurse=False), None) is not None:
                module.register_forward_hook(_noting(order, _layer(f"{path}.weight")))
        network(torch.empty(1, spec.shape.in_channels, *patch))
    last = list(order)[-1]
    for name, _ in network.named_parameters():
        layer = _layer(name)
        order[layer if layer in order else last].append(name)
    return list(order.values())


def _noting(order: dict[str, list[str]], layer: str) -> Any:
    def note(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        order.setdefault(layer, [])

    return note


def _layer(name: str) -> str:
    """Return the name of a parameter's layer: the parameter's name up to its first number.

    The wrapper `net` of networks of other libraries is part of that name.
    """
    parts = name.split(".")[:-1]
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    first = 2 if parts[0] == "net" else 1
    return ".".join(parts[: numbers[0] + 1] if numbers else parts[:first])
