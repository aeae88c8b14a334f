import torch
from test_augment import NONE
from test_patches import cases as cases  # noqa: PLC0414  a fixture, found by its name
from test_patches import sampler

from app.data.augment import Augment
from app.data.batches import BatchSource
from app.data.cache import CachedCase


def test_batches_ahead_are_the_batches_of_their_steps(cases: list[CachedCase]) -> None:
    chain = Augment(NONE, patch=(4, 4, 4), spacing=(1.0, 1.0, 1.0), label_count=2)
    source = BatchSource(sampler(cases), chain, seed=0)
    for step, batch in zip(range(3, 6), source.ahead(3, 6), strict=True):
        assert torch.equal(batch.image, source.batch(step).image)
        assert batch.image.shape == (2, 1, 4, 4, 4) and batch.labels.dtype == torch.int64


def test_leaving_early_stops_the_thread(cases: list[CachedCase]) -> None:
    chain = Augment(NONE, patch=(4, 4, 4), spacing=(1.0, 1.0, 1.0), label_count=2)
    batches = BatchSource(sampler(cases), chain, seed=0).ahead(0, 1000)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
