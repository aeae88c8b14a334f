"""Patches, augmented, as the tensors a training step takes."""

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
    """Image (B, C, D, H, W) float32, labels (B, D, H, W) int64, ids of the cases."""

    image: Tensor
    labels: Tensor
    cases: tuple[str, ...]

    def split(self, parts: int) -> list["Batch"]:
        """As many batches of equal size."""
        size = len(self.image) // parts
        cuts = [slice(first, first + size) for first in range(0, len(self.image), size)]
        return [Batch(self.image[cut], self.labels[cut], self.cases[cut]) for cut in cuts]


class BatchSource:
    """Batches by step number: the same seed and step give the same batch, whatever came before."""

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
        """`places` are the patches of each batch that are made here, in that order; None for all.

        `readers` are the threads of `ahead`, 0 for none. `device` augments patches and holds batches.
        """
        self._sampler = sampler
        self._augment = augment
        self._seed = seed
        self._places = tuple(range(sampler.batch) if places is None else places)
        self._readers = readers
        self._device = device
        self._pinned = device.type == "cuda"

    def batch(self, step: int) -> Batch:
        """The batch of one step."""
        patches = self._sampler.draw(step, self._places, self._allocate)
        stream = torch.cuda.Stream(self._device) if self._pinned else None  # type: ignore[no-untyped-call]
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            image, labels = (
                torch.from_numpy(array).to(self._device, non_blocking=True)
                for array in (patches.image, patches.labels)
            )
            image, labels = self._augmented(image, labels, step, patches.cases)
            if self._pinned:  # what was pinned is free again, and the batch is whole, for any other stream
                torch.cuda.current_stream().synchronize()
        return Batch(image, labels, patches.cases)

    def ahead(self, first: int, stop: int) -> Iterator[Batch]:
        """The batches of steps first .. stop - 1 in order; readers make the next ones while one is used.

        Without readers, each when it is asked for.
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
        """An array, in pinned memory where a GPU copies from it."""
        if not self._pinned:
            return np.empty(shape, dtype)
        of_type = torch.from_numpy(np.empty(0, dtype)).dtype
        array: NDArray[Any] = torch.empty(shape, dtype=of_type, pin_memory=True).numpy()
        return array

    def _handed_over(self, batch: Batch) -> Batch:
        """The batch, whose memory a reader's stream takes again only when this thread's has used it."""
        if self._pinned:
            for tensor in (batch.image, batch.labels):
                tensor.record_stream(torch.cuda.current_stream())
        return batch
