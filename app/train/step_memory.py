"""The memory of a training step, found by running the step on tensors without data.

The network, the loss and the backward pass run on PyTorch's meta device. Every storage is counted when it
appears and subtracted when it is freed; the largest sum is the result.
"""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode  # documented, although its module is private

from app.core.machine import resident_bytes
from app.core.plan import Plan
from app.models.network import NetworkSpec, to_device
from app.train.machine.processes import ALONE
from app.train.machine.shared_loss import exchanging_sums
from app.train.state import LossFunction

_FLOAT_BYTES = 4
_COPIES = 3  # arrays as large as the weights, besides gradients: Adam's two moments, a moving average
# Freed blocks that the C heap keeps, oneDNN's own buffers, and batches made ahead. Fitted to ten networks
# from 0.87 to 3.5 GB, within 16 % of each; the error for seven others, from 1.2 to 3.0 GB, is at most 17 %
# (tests/benchmarks/training_memory.py). See app/core/machine.py for freed blocks that stay.
_HEAP_BYTES = 180_000_000
_HEAP_GROWTH = 1.4


def process_peak_bytes(network: NetworkSpec, plan: Plan, loss: LossFunction, processes: int = 1) -> int:
    """Return the peak resident memory that this process will have after training steps on the CPU."""
    step = step_bytes(network, plan, loss, processes)
    return resident_bytes() + _HEAP_BYTES + round(_HEAP_GROWTH * step)


def step_bytes(network: NetworkSpec, plan: Plan, loss: LossFunction, processes: int = 1) -> int:
    """Return the largest sum of all tensors alive at once in a training step, in one of `processes`.

    Computed for float32, so a step in half precision takes less.
    """
    device = torch.device("meta")
    with device:
        module = to_device(network.build(), device).train()
        batch = -(-plan.batch // processes)
        gathered = 1 if exchanging_sums(loss, ALONE.whole) is not None else processes
        image = torch.empty(batch, network.shape.in_channels, *plan.patch)
        labels = torch.empty(batch * gathered, 1, *plan.patch)
    with _Alive() as alive:
        logits = module(image.contiguous(memory_format=torch.channels_last_3d))
        value = loss(_of_all(logits, gathered), labels.float())
        value.backward()  # type: ignore[no-untyped-call]
    weights = sum(parameter.numel() for parameter in module.parameters())
    return int(alive.peak) + _FLOAT_BYTES * (1 + _COPIES) * weights


def _of_all(logits: Any, processes: int) -> Any:
    """Return logits as they would be gathered from all processes."""
    if processes == 1:
        return logits
    if isinstance(logits, list):
        return [_of_all(level, processes) for level in logits]
    return torch.cat([logits, *(torch.empty_like(logits) for _ in range(processes - 1))])


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A counter of bytes in the storages that are made under it and still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in result if isinstance(result, tuple | list) else (result,):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._known:
            self._known.add(storage)
            self._add(storage.nbytes())
            weakref.finalize(storage, self._add, -storage.nbytes())

    def _add(self, count: int) -> None:
        self.now += count
        self.peak = max(self.peak, self.now)
