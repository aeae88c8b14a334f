"""Copying weights from a trained network to one with the same levels but other widths and kernels.

Channels are matched by kernel: a channel takes the weights of a channel with the same kernel, else of an
unused channel, of which it keeps the taps that both kernels have. Channels without a match keep new weights.
A dense convolution whose output is added to another map takes its channels in the order of that map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from app.layers.graph import ADDITIONS, trace
from app.operators.mixed import MixedConv3d

_LEAVES = (MixedConv3d, nn.Conv3d, nn.ConvTranspose3d, nn.GroupNorm)  # with subclasses of our own
_FRESH = -1
_Kernel = tuple[tuple[int, ...], tuple[int, ...]]
"""Taps and dilation."""


@torch.no_grad()
def take_over(target: nn.Module, source: nn.Module) -> None:
    """Copy the weights of `source` that fit into `target`; both have the same modules, but of other sizes."""
    channels: dict[fx.Node, _Channels] = {}
    for node in trace(target.train(), _LEAVES):
        inputs = [channels[one] for one in node.all_input_nodes if one in channels]
        if node.op == "call_module":
            path = str(node.target)
            parts = target.get_submodule(path), source.get_submodule(path)
            found = _filled(*parts, inputs, _added_to(node, channels))
        elif node.target in ADDITIONS:
            found = _summed(inputs)
        else:
            found = _joined(inputs) if node.target is torch.cat else next(iter(inputs), None)
        if found is not None:
            channels[node] = found


@dataclass(frozen=True)
class _Channels:
    """The origin of the channels of a feature map."""

    origin: Tensor
    """For each channel, the index of the source's channel, or -1."""
    source: int
    """Number of channels of the source's map."""


def _joined(parts: Sequence[_Channels]) -> _Channels:
    origins, start = [], 0
    for part in parts:
        origins.append(torch.where(part.origin >= 0, part.origin + start, _FRESH))
        start += part.source
    return _Channels(torch.cat(origins), start)


def _summed(parts: Sequence[_Channels]) -> _Channels | None:
    """Return the channels of a sum; channels whose origins differ between its parts have none."""
    if not parts or any(part.origin.shape != parts[0].origin.shape for part in parts):
        return next(iter(parts), None)
    alike = torch.stack([part.origin == parts[0].origin for part in parts]).all(dim=0)
    return _Channels(torch.where(alike, parts[0].origin, _FRESH), parts[0].source)


def _added_to(node: fx.Node, channels: Mapping[fx.Node, _Channels]) -> _Channels | None:
    """Return the channels of the map to which a module's output is added, perhaps after norms, if known."""
    while len(node.users) == 1:
        before, node = node, next(iter(node.users))
        if node.target in ADDITIONS:
            return next(
                (channels[one] for one in node.all_input_nodes if one is not before and one in channels), None
            )
        if node.op != "call_module":
            return None
    return None


def _filled(
    target: nn.Module, source: nn.Module, inputs: Sequence[_Channels], added_to: _Channels | None
) -> _Channels | None:
    """Fill one module with the weights of another; return the origin of its output channels."""
    before = inputs[0] if inputs else None
    if isinstance(target, MixedConv3d):
        return _fill_convolution(target, source, before, _matched(target, source))
    if isinstance(target, nn.Conv3d):
        fits = added_to is not None and len(added_to.origin) == target.out_channels
        origins = added_to.origin.tolist() if added_to is not None and fits else _matched(target, source)
        return _fill_convolution(target, source, before, origins)
    if isinstance(target, nn.ConvTranspose3d) and isinstance(source, nn.ConvTranspose3d):
        return _fill_upsampling(target, source, before)
    theirs = {**dict(source.named_parameters(recurse=False)), **dict(source.named_buffers(recurse=False))}
    for name, own in [*target.named_parameters(recurse=False), *target.named_buffers(recurse=False)]:
        if before is not None and own.shape == before.origin.shape:
            _fill_inputs(own, theirs[name], before)
        elif own.shape == theirs[name].shape:
            own.copy_(theirs[name])
    return before


def _fill_convolution(
    target: nn.Module, source: nn.Module, before: _Channels | None, origins: list[int]
) -> _Channels:
    """Fill a convolution channel by channel from the channels `origins`; return these."""
    theirs = [(group, row) for group in _groups(source) for row in range(len(group.weight))]
    number = 0
    for group in _groups(target):
        for row in range(len(group.weight)):
            if origins[number] != _FRESH:
                part, place = theirs[origins[number]]
                _fill_inputs(group.weight[row], _as_kernel(part.weight[place], part, group), before)
                if group.bias is not None and part.bias is not None:
                    group.bias[row] = part.bias[place]
            number += 1
    return _Channels(torch.tensor(origins), len(theirs))


def _fill_upsampling(
    target: nn.ConvTranspose3d, source: nn.ConvTranspose3d, before: _Channels | None
) -> _Channels:
    """Copy the output channels that both layers have; return the origin of each output channel."""
    shared = min(target.weight.shape[1], source.weight.shape[1])
    ours, theirs = (module.weight.transpose(0, 1) for module in (target, source))
    for own, other in zip(ours[:shared], theirs[:shared], strict=True):
        _fill_inputs(own, other, before)
    origin = torch.arange(len(ours))
    return _Channels(torch.where(origin < shared, origin, _FRESH), len(theirs))


def _matched(target: nn.Module, source: nn.Module) -> list[int]:
    """Return each target channel's source channel: one of the same kernel, else an unused one, else -1."""
    left: dict[_Kernel, list[int]] = {}
    number = 0
    for group in _groups(source):
        left[_kernel(group)] = list(range(number, number + len(group.weight)))
        number += len(group.weight)
    wanted = [_kernel(group) for group in _groups(target) for _ in range(len(group.weight))]
    alike = [left[kernel].pop(0) if left.get(kernel) else _FRESH for kernel in wanted]
    spare = [channel for channels in left.values() for channel in channels]
    return [spare.pop(0) if origin == _FRESH and spare else origin for origin in alike]


def _groups(module: nn.Module) -> list[nn.Conv3d]:
    parts = module.groups if isinstance(module, MixedConv3d) else [module]
    return [part for part in parts if isinstance(part, nn.Conv3d)]


def _kernel(group: nn.Conv3d) -> _Kernel:
    return tuple(group.kernel_size), tuple(group.dilation)


def _as_kernel(weight: Tensor, source: nn.Conv3d, target: nn.Conv3d) -> Tensor:
    """Return the weights (in, D, H, W) of one channel for the taps of another kernel; new taps are zero.

    If the dilations differ, only the middle tap stays.
    """
    for axis, taps in enumerate(target.kernel_size, start=1):
        have = weight.shape[axis]
        keep = min(taps, have) if source.dilation == target.dilation else 1
        weight = weight.narrow(axis, (have - keep) // 2, keep)
        weight = F.pad(weight, [0, 0] * (3 - axis) + [(taps - keep) // 2] * 2)
    return weight


def _fill_inputs(target: Tensor, source: Tensor, before: _Channels | None) -> None:
    """Fill the weights (in, ...) of one channel, or a value per input, for inputs that have an origin."""
    if before is None:
        target.copy_(source)
        return
    known = torch.nonzero(before.origin != _FRESH)[:, 0]
    target[known] = source[before.origin[known]]
