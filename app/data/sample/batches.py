"""Batches: augmented patches as the tensors of a training step."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.core.errors import noting
from app.data.sample.augment import Augment
from app.data.sample.patches import PatchSampler

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Batch:
    """A batch: image (B, C, D, H, W) float32, labels (B, D, H, W) int64, and the ids of its cases."""

    image: Tensor
    labels: Tensor
    cases: tuple[str, ...]

    def split(self, parts: int) -> list["Batch"]:
        """Return `parts` batches of equal size."""
        size = len(self.image) // parts
        cuts = [slice(first, first + size) for first in range(0, len(self.image), size)]
        return [Batch(self.image[cut], self.labels[cut], self.cases[cut]) for cut in cuts]


class BatchSource:
    """The batches of a training by step number; a batch depends on seed and step only."""

    def __init__(
        self,
        sampler: PatchSampler,
        augment: Augment | None,
        *,
        seed: int,
        places: Sequence[int] | None = None,
        readers: int = 1,
        device: torch.device = CPU,
    ) -> None:
        """Set up the batches of a training, or the part of each batch that this process makes.

        `places` are the indices of the patches of a batch to make, in that order; None for all. `readers` is
        the number of threads of `ahead`, 0 for none. `device` augments patches and holds batches.
        """
        self._sampler = sampler
        self._augment = augment
        self._seed = seed
        self._places = tuple(range(sampler.batch) if places is None else places)
        self._readers = readers
        self._device = device
        self._pinned = device.type == "cuda"

    def batch(self, step: int) -> Batch:
        """Return the batch of one step."""
        patches = self._sampler.draw(step, self._places, self._allocate)
        stream = torch.cuda.Stream(self._device) if self._pinned else None  # type: ignore[no-untyped-call]
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            image, labels = (
                torch.from_numpy(array).to(self._device, non_blocking=True)
                for array in (patches.image, patches.labels)
            )
            image, labels = self._augmented(image, labels, step, patches.cases)
            if self._pinned:  # after this, pinned memory may be reused and other streams may read the batch
                torch.cuda.current_stream().synchronize()
        return Batch(image, labels, patches.cases)

    def ahead(self, first: int, stop: int) -> Iterator[Batch]:
        """Yield the batches of steps first .. stop - 1 in order.

        Readers make the next batches while one is used. Without readers, each is made when it is requested.
        """
        if not self._readers:
            yield from map(self.batch, range(first, stop))
            return
        with ThreadPoolExecutor(self._readers, thread_name_prefix="batches") as pool:
            begun = range(first, min(first + self._readers, stop))
            coming: deque[Future[Batch]] = deque(pool.submit(self.batch, step) for step in begun)
            for step in range(first, stop):
                batch = coming.popleft().result()
                if step + self._readers < stop:
                    coming.append(pool.submit(self.batch, step + self._readers))
                yield self._handed_over(batch)

    def _augmented(
        self, image: Tensor, labels: Tensor, step: int, cases: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        if self._augment is None:
            return image, labels.long()
        rng = np.random.default_rng([self._seed, 2, step])
        with noting(f"augmenting the batch of step {step}: cases {', '.join(cases)}"):
            changes = self._augment.draw(self._sampler.batch, image.shape[1], rng)
            return self._augment.apply(image, labels, [changes[place] for place in self._places])

    def _allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an uninitialised array, in pinned memory if a GPU will copy from it."""
        if not self._pinned:
            return np.empty(shape, dtype)
        of_type = torch.from_numpy(np.empty(0, dtype)).dtype
        array: NDArray[Any] = torch.empty(shape, dtype=of_type, pin_memory=True).numpy()
        return array

    def _handed_over(self, batch: Batch) -> Batch:
        """Return the batch after marking its memory as used by the stream of this thread.

        Otherwise the stream of a reader could reuse the memory too early.
        """
        if self._pinned:
            for tensor in (batch.image, batch.labels):
                tensor.record_stream(torch.cuda.current_stream())
        return batch
