"""Which mixed convolutions run as one dense call on a device: measured there, and kept in the run.

A convolution of several groups starts a kernel for each and reads its whole input each time. Where that costs
more than the multiply-adds it saves, as on a GPU it may, all groups are merged.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from app.core import run_folder
from app.core.files import read_json, write_json
from app.layers.device_policy import autocast, policy_of
from app.operators.mixed import MixedConv3d

_RUNS = 5  # timed, after two that set up more than they compute

Clock = Callable[[Callable[[], object], torch.device], float]
"""Work on a device -> its seconds."""


def use_recorded(network: nn.Module, run: Path, device: torch.device) -> bool:
    """Merge what the run records for this device; return whether there was nothing left to measure."""
    if not policy_of(device).merges or not _mixed(network):
        return True
    path = run / run_folder.MERGED
    known = read_json(path) if path.is_file() else {}
    if _name(device) not in known:
        return False
    _merge(network, known[_name(device)])
    return True


def merge_faster(
    network: nn.Module, image: Tensor, precision: torch.dtype, run: Path, *, seconds: Clock | None = None
) -> list[str]:
    """Merge the convolutions that are then faster in a training step on images like this (B, C, D, H, W).

    Writes their names to the run, by device, and returns them.
    """
    device, clock = image.device, seconds or _seconds
    faster = []
    for name, x in _inputs(network, image, precision).items():
        module = _mixed(network)[name]
        both = {}
        for merged in (False, True):
            module.merged = merged
            with autocast(device, precision):
                both[merged] = clock(_pass(module, x), device)
        module.merged = both[True] < both[False]
        if module.merged:
            faster.append(name)
        module.zero_grad(set_to_none=True)
    path = run / run_folder.MERGED
    write_json(path, {**(read_json(path) if path.is_file() else {}), _name(device): faster})
    return faster


def _merge(network: nn.Module, names: list[str]) -> None:
    for name, module in _mixed(network).items():
        module.merged = name in names


def _mixed(network: nn.Module) -> dict[str, MixedConv3d]:
    """Convolutions of several groups, by name."""
    modules = network.named_modules()
    return {name: each for name, each in modules if isinstance(each, MixedConv3d) and len(each.groups) > 1}


def _inputs(network: nn.Module, image: Tensor, precision: torch.dtype) -> dict[str, Tensor]:
    """What each mixed convolution sees of an image."""
    seen: dict[str, Tensor] = {}

    def look(name: str, module: nn.Module) -> RemovableHandle:
        return module.register_forward_pre_hook(lambda _, inputs: seen.update({name: inputs[0].detach()}))

    hooks = [look(name, module) for name, module in _mixed(network).items()]
    training = network.training
    network.eval()  # so that no statistics of a norm are moved
    try:
        with torch.no_grad(), autocast(image.device, precision):
            network(image)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return seen


def _pass(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """Forward and backward."""
    inputs = x.clone().requires_grad_()
    return lambda: module(inputs).sum().backward()


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    spent = []
    for _ in range(2 + _RUNS):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - started)
    return median(spent[2:])


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
