"""One training shared by several processes, each with its own GPU or some of the CPU cores.

Every process holds the whole network and makes its own patches of each batch. The loss is always that of the
whole batch. Processes exchange the sums over classes that it consists of; for other losses they exchange the
logits. Each process sends gradients into its own logits. So every loss, also one whose Dice is computed over
the batch, has the value and the gradient that a single process would find. Decisions that depend on clocks,
signals or files are exchanged, so that all processes take the same steps.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Logits = TypeVar("_Logits", Tensor, list[Tensor])


@dataclass(frozen=True)
class Processes:
    """This process, one of `count`.

    More than one need PyTorch's process group, with gloo for tensors on the CPU.
    """

    rank: int = 0
    count: int = 1
    slow_group: Any = None
    """The process group for plain data, with a long timeout; None for the default group."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files, logs and shows progress."""
        return self.rank == 0

    def places(self, batch: int, accumulate: int) -> list[int]:
        """Return the indices of a step's `batch` patches that this process makes, by micro-batch.

        The micro-batches do not depend on the number of processes.
        """
        size = batch // accumulate
        micro_batches = (range(first, first + size) for first in range(0, batch, size))
        return [place for micro_batch in micro_batches for place in micro_batch[self.rank :: self.count]]

    def replicate(self, network: nn.Module) -> nn.Module:
        """Return the network to train; its backward pass leaves the mean of all processes' gradients."""
        if self.count == 1:
            return network
        # Weights of 1 x 1 x 1 kernels have the same order in memory with either strides, so the warning is
        # harmless.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        return DistributedDataParallel(network, gradient_as_bucket_view=True)

    def whole(self, logits: _Logits) -> _Logits:
        """Concatenate the logits of all processes by rank: (b, ...), or a list of these, to (count * b, ...).

        Gradients flow into this process's own logits only.
        """
        if self.count == 1:
            return logits
        if isinstance(logits, list):
            return [self.whole(level) for level in logits]
        own = logits.contiguous()
        parts = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(parts, own.detach())
        parts[self.rank] = own
        return torch.cat(parts)

    def gather(self, value: Any) -> list[Any]:
        """Return one value per process, by rank; values are plain data, as in JSON."""
        if self.count == 1:
            return [value]
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        dist.all_gather(lengths, torch.tensor([len(own)]), group=self.slow_group)
        longest = int(max(lengths))
        texts = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.count)]
        dist.all_gather(texts, nn.functional.pad(own, (0, longest - len(own))), group=self.slow_group)
        return [
            json.loads(text[: int(length)].numpy().tobytes())
            for text, length in zip(texts, lengths, strict=True)
        ]

    def agree(self, value: _Item) -> _Item:
        """Return the leading process's value, plain data; the others may pass None."""
        agreed: _Item = self.gather(value if self.leads else None)[0]
        return agreed

    def largest(self, *values: float) -> tuple[float, ...]:
        """Return the largest of each value over all processes."""
        if self.count == 1:
            return values
        found = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return tuple(found.tolist())

    def share(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """Return the items that this process works on."""
        return items[self.rank :: self.count]

    def over(self, items: Sequence[_Item], work: Callable[[_Item], _Result]) -> list[_Result]:
        """Return the results (plain data) of `work` on all items in order; one process works on each."""
        return self.collect([work(item) for item in self.share(items)], len(items))

    def collect(self, own: list[_Result], count: int) -> list[_Result]:
        """Return the results of all `count` items in order, from each process's results of its share."""
        parts = self.gather(own)
        return [parts[index % self.count][index // self.count] for index in range(count)]


ALONE = Processes()


def without_exchange(network: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which backward passes add gradients locally, until a later pass exchanges them."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()
