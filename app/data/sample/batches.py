"""Patches, augmented, as the tensors a training step takes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.core.errors import noting
from app.data.sample.augment import Augment
from app.data.sample.patches import PatchSampler


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
        apart: bool = True,
    ) -> None:
        """`places` are the patches of each batch that are made here, in that order; None for all.

        `apart` says whether `ahead` has a thread of its own.
        """
        self._sampler = sampler
        self._augment = augment
        self._seed = seed
        self._places = tuple(range(sampler.batch) if places is None else places)
        self._apart = apart

    def batch(self, step: int) -> Batch:
        """The batch of one step."""
        patches = self._sampler.draw(step, self._places)
        image, labels = torch.from_numpy(patches.image), torch.from_numpy(patches.labels)
        if self._augment is None:
            return Batch(image, labels.long(), patches.cases)
        rng = np.random.default_rng([self._seed, 2, step])
        with noting(f"augmenting the batch of step {step}: cases {', '.join(patches.cases)}"):
            changes = self._augment.draw(self._sampler.batch, image.shape[1], rng)
            image, labels = self._augment.apply(image, labels, [changes[place] for place in self._places])
        return Batch(image, labels, patches.cases)

    def ahead(self, first: int, stop: int) -> Iterator[Batch]:
        """The batches of steps first .. stop - 1, each computed in a thread while the one before is used.

        Without a thread of its own, each when it is asked for.
        """
        if not self._apart:
            yield from map(self.batch, range(first, stop))
            return
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            coming: Future[Batch] = pool.submit(self.batch, first)
            for step in range(first, stop):
                batch = coming.result()
                if step + 1 < stop:
                    coming = pool.submit(self.batch, step + 1)
                yield batch
