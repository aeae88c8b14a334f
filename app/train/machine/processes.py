"""One training shared by several processes, each with a GPU or some cores of its own.

Every process holds the whole network and makes its patches of each batch. The loss is always that of the
whole batch: its sums over classes are gathered from all, or, of a loss that is not made of them, the logits,
and each process sends gradients into its own. So any loss, one whose Dice runs over the batch too, has the
value and the gradient that one process would find. What hangs on clocks, signals or files is agreed on, so
that all processes take the same steps.
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
    """This process among `count`; more than one need torch's process group, gloo for tensors on the CPU."""

    rank: int = 0
    count: int = 1
    patient: Any = None
    """The process group for plain data, which others may take long to have; None for the usual one."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files, logs and shows progress."""
        return self.rank == 0

    def places(self, batch: int, accumulate: int) -> list[int]:
        """The patches of a step's `batch` that this process makes, micro-batch after micro-batch.

        Micro-batches are the same however many processes share them.
        """
        size = batch // accumulate
        micro_batches = (range(first, first + size) for first in range(0, batch, size))
        return [place for micro_batch in micro_batches for place in micro_batch[self.rank :: self.count]]

    def replicate(self, network: nn.Module) -> nn.Module:
        """The network to train: its backward pass leaves the mean of all processes' gradients."""
        if self.count == 1:
            return network
        # Weights of 1 x 1 x 1 taps have the same order in memory with either strides.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        return DistributedDataParallel(network, gradient_as_bucket_view=True)

    def whole(self, logits: _Logits) -> _Logits:
        """(b, ...) of this process, or a list of such -> those of all, (count * b, ...), by rank.

        Gradients go into this process's own.
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
        """A value of plain data (as in JSON) of every process, by rank."""
        if self.count == 1:
            return [value]
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        dist.all_gather(lengths, torch.tensor([len(own)]), group=self.patient)
        longest = int(max(lengths))
        texts = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.count)]
        dist.all_gather(texts, nn.functional.pad(own, (0, longest - len(own))), group=self.patient)
        return [
            json.loads(text[: int(length)].numpy().tobytes())
            for text, length in zip(texts, lengths, strict=True)
        ]

    def agree(self, value: _Item) -> _Item:
        """What the leading process says; plain data, which others may leave None."""
        agreed: _Item = self.gather(value if self.leads else None)[0]
        return agreed

    def largest(self, *values: float) -> tuple[float, ...]:
        """The largest of each value among all processes."""
        if self.count == 1:
            return values
        found = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return tuple(found.tolist())

    def share(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """The items that this process works on."""
        return items[self.rank :: self.count]

    def over(self, items: Sequence[_Item], work: Callable[[_Item], _Result]) -> list[_Result]:
        """Results, plain data, of all items in their order, each worked on by one process."""
        parts = self.gather([work(item) for item in self.share(items)])
        return [parts[index % self.count][index // self.count] for index in range(len(items))]


ALONE = Processes()


def without_exchange(network: nn.Module) -> AbstractContextManager[None]:
    """Gradients of passes under it stay with this process, added up, until a later pass shares them."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()
