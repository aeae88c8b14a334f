"""The receptive field of every convolution of a network, found by following its computation."""

import operator
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from app.analyze.field import (
    ReceptiveFields,
    concatenated,
    enlarged,
    entering,
    input_field,
    narrowed,
    through,
    united,
)
from app.core.errors import InputError
from app.core.types import as_size
from app.layers.connection import Connected, Connection, grouped_links
from app.layers.graph import trace

_PASSING = (
    *(nn.GroupNorm, nn.BatchNorm3d, nn.InstanceNorm3d, nn.Identity, nn.Dropout3d),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.SiLU, nn.GELU, nn.Sigmoid),
)
_KNOWN = (*_PASSING, nn.Conv3d, nn.ConvTranspose3d, nn.AvgPool3d, Connected)
_SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")


def fields(
    network: nn.Module, channels: int, paths: Collection[str], stages: Collection[str]
) -> dict[str, ReceptiveFields]:
    """Return the field after each module of `paths`; channels are counted from the start of its stage.

    Raises:
        InputError: the network contains an operation whose connection is unknown.
    """
    found: dict[str, ReceptiveFields] = {}
    _walk(network, "", [input_field(channels)], _Stops(paths, stages, found))
    return found


class _Stops:
    """The modules that are walked separately: those whose field is wanted, and stages."""

    def __init__(
        self, paths: Collection[str], stages: Collection[str], found: dict[str, ReceptiveFields]
    ) -> None:
        self.paths, self.stages, self.found = set(paths), set(stages), found

    def below(self, path: str) -> set[str]:
        """Return the stops inside the module at `path`, with paths relative to it."""
        prefix = f"{path}." if path else ""
        return {stop.removeprefix(prefix) for stop in self.paths | self.stages if stop.startswith(prefix)} - {
            path
        }


def _walk(module: nn.Module, path: str, seen: list[ReceptiveFields], stops: _Stops) -> ReceptiveFields:
    """Return the field after the module at `path` for the fields of its inputs."""
    if path in stops.stages:
        seen = [entering(field) for field in seen]
    result = _primitive(module, seen)
    if result is None:
        result = _interpret(module, path, seen, stops)
    if path in stops.paths:
        stops.found[path] = result
    return entering(result) if path in stops.stages else result


def _primitive(module: nn.Module, seen: list[ReceptiveFields]) -> ReceptiveFields | None:
    """Return the field after a module with a known connection; None for one made of other modules."""
    field = seen[0]
    if isinstance(module, Connected):
        for connection in module.connections():
            field = through(field, connection)
        return field
    if isinstance(module, nn.Conv3d):
        return through(field, _connection(module))
    if isinstance(module, nn.ConvTranspose3d):
        assert module.kernel_size == module.stride, "voxels made many"
        return enlarged(field, module.out_channels, as_size(module.stride))
    if isinstance(module, nn.AvgPool3d):
        return through(field, _pool(module, len(field.low)))
    return field if isinstance(module, _PASSING) else None


def _interpret(module: nn.Module, path: str, seen: list[ReceptiveFields], stops: _Stops) -> ReceptiveFields:
    inputs = iter(seen)
    known: dict[fx.Node, Any] = {}
    for node in trace(module, _KNOWN, stops.below(path)):
        given = [known[arg] for arg in node.all_input_nodes if arg in known]
        if node.op == "placeholder":
            known[node] = next(inputs)
        elif node.op == "call_module":
            below = f"{path}.{node.target}" if path else str(node.target)
            known[node] = _walk(module.get_submodule(str(node.target)), below, given, stops)
        elif node.op == "output":
            result: ReceptiveFields = given[0]
            return result
        else:
            known[node] = _function(node, given)
    raise AssertionError("a graph ends with its output")


def _function(node: fx.Node, given: list[ReceptiveFields]) -> ReceptiveFields:
    if node.target is torch.cat:
        return concatenated(given)
    if node.target in _SUMS:
        return united(*given)
    if node.target is operator.getitem and isinstance(node.args[1], tuple):
        return narrowed(given[0], node.args[1][1])  # type: ignore[arg-type]
    raise InputError(
        f"mode=analyze: the receptive field of {node.target} in {node.format_node()} is unknown; choose "
        "another model or op"
    )


def _connection(conv: nn.Conv3d) -> Connection:
    """Return a convolution's connection; its kernel begins at -padding, so it need not be centred."""
    assert not isinstance(conv.padding, str)
    low = -np.array(conv.padding)
    high = low + (np.array(conv.kernel_size) - 1) * np.array(conv.dilation)
    links = grouped_links(conv.in_channels, conv.out_channels, conv.groups)
    return Connection(links, *_everywhere(conv.out_channels, low, high), as_size(conv.stride))


def _pool(pool: nn.AvgPool3d, channels: int) -> Connection:
    kernel, stride = as_size(pool.kernel_size), as_size(pool.stride)  # type: ignore[arg-type]
    first = -np.array(as_size(pool.padding)) if pool.padding else np.zeros(3, dtype=np.int64)  # type: ignore[arg-type]
    ends = _everywhere(channels, first, first + np.array(kernel) - 1)
    return Connection(np.eye(channels, dtype=np.bool_), *ends, stride)


def _everywhere(channels: int, low: Any, high: Any) -> tuple[Any, Any]:
    return np.tile(low, (channels, 1)), np.tile(high, (channels, 1))
