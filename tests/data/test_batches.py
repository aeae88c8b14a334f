from dataclasses import replace

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


def test_shares_of_a_batch_together_are_the_batch(cases: list[CachedCase]) -> None:
    everything = replace(
        NONE, rotate=0.5, scale=0.5, noise=0.5, blur=0.5, brightness=0.5, gamma=0.5, flip_axes=(0, 1, 2)
    )
    chain = Augment(everything, patch=(4, 4, 4), spacing=(1.0, 1.0, 1.0), label_count=2)
    whole = BatchSource(sampler(cases), chain, seed=0)
    shares = [BatchSource(sampler(cases), chain, seed=0, places=[place]) for place in (0, 1)]
    for step in range(8):
        made, parts = whole.batch(step), [share.batch(step) for share in shares]
        assert torch.equal(made.image, torch.cat([part.image for part in parts]))
        assert torch.equal(made.labels, torch.cat([part.labels for part in parts]))
        assert made.cases == parts[0].cases + parts[1].cases
