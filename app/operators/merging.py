"""Choice of the mixed convolutions to run as one dense convolution, measured per device and kept in the run.

A convolution with several groups launches one kernel per group, and each reads the whole input. If that costs
more than the saved multiply-adds gain, as it may on a GPU, all groups are merged into one dense convolution.
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

_RUNS = 5  # timed runs, after two for warm-up

TimeFunction = Callable[[Callable[[], object], torch.device], float]
"""A function that runs work on a device and returns its seconds."""


def use_recorded(network: nn.Module, run: Path, device: torch.device) -> bool:
    """Merge the convolutions recorded in the run for this device; return whether no measurement is needed."""
    if not policy_of(device).merges or not _mixed(network):
        return True
    path = run / run_folder.MERGED
    known = read_json(path) if path.is_file() else {}
    if _name(device) not in known:
        return False
    _merge(network, known[_name(device)])
    return True


def merge_faster(
    network: nn.Module,
    image: Tensor,
    precision: torch.dtype,
    run: Path,
    *,
    seconds: TimeFunction | None = None,
) -> list[str]:
    """Merge the convolutions that are faster merged, in a training step on an image (B, C, D, H, W).

    Write their names to the run, by device, and return them.
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
    """Return the mixed convolutions with several groups, by name."""
    modules = network.named_modules()
    return {name: each for name, each in modules if isinstance(each, MixedConv3d) and len(each.groups) > 1}


def _inputs(network: nn.Module, image: Tensor, precision: torch.dtype) -> dict[str, Tensor]:
    """Return the input of each mixed convolution for an image, by name."""
    seen: dict[str, Tensor] = {}

    def look(name: str, module: nn.Module) -> RemovableHandle:
        return module.register_forward_pre_hook(lambda _, inputs: seen.update({name: inputs[0].detach()}))

    hooks = [look(name, module) for name, module in _mixed(network).items()]
    training = network.training
    network.eval()  # so that running statistics of norms do not change
    try:
        with torch.no_grad(), autocast(image.device, precision):
            network(image)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return seen


def _pass(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return a function that runs a module forward and backward."""
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
