"""Random patches from prepared cases. Patches depend on the seed and the step only.

A run that stops at step n and resumes therefore continues exactly as an uninterrupted run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.errors import noting
from app.core.types import Labels, Size, as_size
from app.data.prepare.bricks import Bricks
from app.data.prepare.cached_case import CachedCase

Allocate = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""A function that makes an uninitialised array from a shape and a data type, such as `numpy.empty`."""


@dataclass(frozen=True)
class Patches:
    """A batch of patches: image (B, C, D, H, W), labels (B, D, H, W) and the ids of the cases."""

    image: NDArray[np.float32]
    labels: Labels
    cases: tuple[str, ...]


class PatchSampler:
    """A sampler of batches of patches, of which a `foreground_share` is centred on foreground.

    Patches have `size` voxels (D, H, W). They are cut out with `margin` voxels around the same centre, as
    augmentation needs.
    """

    def __init__(
        self,
        cases: Sequence[CachedCase],
        *,
        size: Size,
        margin: Size,
        batch: int,
        foreground_share: float,
        seed: int,
        codes: Mapping[str, int] | None = None,
    ) -> None:
        """Set up a sampler that draws from prepared cases.

        `codes` has, by id, the value that replaces background in cases that annotate only some labels.
        """
        assert cases and batch > 0 and 0 <= foreground_share <= 1
        self._cases = tuple(cases)
        self._size, self._margin = size, margin
        self._batch = batch
        self._foreground_share = foreground_share
        self._seed = seed
        self._codes = codes or {}

    @property
    def batch(self) -> int:
        """Patches per step."""
        return self._batch

    def draw(self, step: int, places: Sequence[int] | None = None, allocate: Allocate = np.empty) -> Patches:
        """Return the patches of one step; outside a volume the image is zero and the label background.

        With `places`, only the patches with these indices in the batch are read, in that order; each is the
        same as in the whole batch. Patches are read directly into the two arrays that `allocate` makes.
        """
        rng = np.random.default_rng([self._seed, 0, step])
        chosen = [self._case(step * self._batch + index) for index in range(self._batch)]
        starts = [
            self._start(case, rng, on_foreground=self._on_foreground(step * self._batch + index))
            for index, case in enumerate(chosen)
        ]
        taken = range(self._batch) if places is None else places
        read = [(chosen[index], starts[index]) for index in taken]
        volumes = [(case.image(), case.labels()) for case, _ in read]
        shape, types = (len(read), volumes[0][0].channels, *self._margin), {of.dtype for _, of in volumes}
        image = allocate(shape, np.dtype(np.float32))
        labels = allocate((len(read), *self._margin), np.result_type(*types))
        for place, (case, start) in enumerate(read):
            self._cut(case, start, volumes[place], image[place], labels[place])
        return Patches(image, labels, tuple(case.id for case, _ in read))

    def _case(self, index: int) -> CachedCase:
        """Return the case of patch `index` of the training: random order, each case once per pass."""
        passed, place = divmod(index, len(self._cases))
        order = np.random.default_rng([self._seed, 1, passed]).permutation(len(self._cases))
        return self._cases[int(order[place])]

    def _on_foreground(self, number: int) -> bool:
        """Return whether patch `number` of the training is centred on foreground.

        Such patches are spread evenly: they are floor(n * share) of the first n, whatever the batch size.
        """
        return math.floor((number + 1) * self._foreground_share) > math.floor(number * self._foreground_share)

    def _start(self, case: CachedCase, rng: np.random.Generator, *, on_foreground: bool) -> Size:
        """Return the first voxel of the margin around a patch."""
        with noting(f"placing a patch in case {case.id}"):
            foreground, shape = case.foreground(), case.labels().size
            if on_foreground and len(foreground):
                start = _start_around(_foreground_voxel(foreground, rng), shape, self._size)
            else:
                start = _start_anywhere(shape, self._size, rng)
        around = zip(start, self._size, self._margin, strict=True)
        return as_size([first - (wide - length) // 2 for first, length, wide in around])

    def _cut(
        self,
        case: CachedCase,
        start: Size,
        volumes: tuple[Bricks, Bricks],
        image: NDArray[np.float32],
        labels: Labels,
    ) -> None:
        with noting(f"drawing a patch of case {case.id}"):
            volumes[0].cut_into(image, start)
            volumes[1].cut_into(labels[None], start)
            if case.id in self._codes:
                labels[labels == 0] = self._codes[case.id]


def _foreground_voxel(foreground: NDArray[np.int32], rng: np.random.Generator) -> Size:
    """Draw a label, then one of its voxels, so that small structures are drawn as often as large ones."""
    # The rows are sorted by label, so the search reads few of them.
    starts = np.searchsorted(foreground[:, 0], np.arange(foreground[-1, 0] + 2))
    label = rng.choice(np.flatnonzero(np.diff(starts)).astype(foreground.dtype))
    return as_size(foreground[rng.integers(starts[label], starts[label + 1]), 1:].tolist())


def _start_around(voxel: Size, shape: Size, size: Size) -> Size:
    """Return the start of a patch centred on the voxel, moved inside the volume if it fits."""
    starts = []
    for centre, extent, length in zip(voxel, shape, size, strict=True):
        low, high = sorted((0, extent - length))
        starts.append(min(max(centre - length // 2, low), high))
    return as_size(starts)


def _start_anywhere(shape: Size, size: Size, rng: np.random.Generator) -> Size:
    bounds = [sorted((0, extent - length)) for extent, length in zip(shape, size, strict=True)]
    return as_size([int(rng.integers(low, high + 1)) for low, high in bounds])
