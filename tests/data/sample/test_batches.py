import re
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.core.errors import InputError
from app.data.prepare.bricks import Bricks
from app.data.prepare.cached_case import CachedCase
from app.data.sample import augment
from app.data.sample.augment import Augment
from app.data.sample.batches import BatchSource
from app.data.sample.patches import PatchSampler
from tests.support.config import NONE
from tests.support.networks import sampler

EVERYTHING = replace(
    NONE, rotate=0.5, scale=0.5, noise=0.5, blur=0.5, brightness=0.5, gamma=0.5, flip_axes=(0, 1, 2)
)


@pytest.mark.parametrize("readers", [0, 1, 2, 5])
def test_batches_ahead_are_the_batches_of_their_steps(cases: list[CachedCase], readers: int) -> None:
    """At any number of readers, so that a resumed run may have another."""
    chain = Augment(EVERYTHING, patch=(4, 4, 4), spacing=(1.0, 1.0, 1.0))
    source = BatchSource(sampler(cases), chain, seed=0, readers=readers)
    for step, batch in zip(range(3, 9), source.ahead(3, 9), strict=True):
        assert len(loaders()) <= readers and bool(loaders()) == (readers > 0)
        assert torch.equal(batch.image, source.batch(step).image)
        assert batch.image.shape == (2, 1, 4, 4, 4) and batch.labels.dtype == torch.int64


def test_leaving_early_stops_the_thread(cases: list[CachedCase]) -> None:
    chain = Augment(NONE, patch=(4, 4, 4), spacing=(1.0, 1.0, 1.0))
    batches = BatchSource(sampler(cases), chain, seed=0).ahead(0, 1000)
    next(batches)
    assert loaders()
    batches.close()  # type: ignore[attr-defined]
    assert not loaders()


def loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_shares_of_a_batch_together_are_the_batch(cases: list[CachedCase]) -> None:
    chain = Augment(EVERYTHING, patch=(4, 4, 4), spacing=(1.0, 1.0, 1.0))
    whole = BatchSource(sampler(cases), chain, seed=0)
    shares = [BatchSource(sampler(cases), chain, seed=0, places=[place]) for place in (0, 1)]
    for step in range(8):
        made, parts = whole.batch(step), [share.batch(step) for share in shares]
        assert torch.equal(made.image, torch.cat([part.image for part in parts]))
        assert torch.equal(made.labels, torch.cat([part.labels for part in parts]))
        assert made.cases == parts[0].cases + parts[1].cases


def test_a_loader_that_dies_names_its_cases(cases: list[CachedCase], monkeypatch: pytest.MonkeyPatch) -> None:
    source = BatchSource(sampler(cases), None, seed=0)
    wanted = source.batch(1).cases
    (case := next(case for case in cases if case.id == wanted[0])).folder.rename(
        case.folder.with_name("gone")
    )
    with pytest.raises(InputError, match=re.escape(str(case.folder))) as error:
        list(source.ahead(1, 3))
    assert re.search(rf"\b{case.id}\b", str(error.value).replace(str(case.folder), ""))
    case.folder.with_name("gone").rename(case.folder)

    chain = Augment(NONE, patch=(4, 4, 4), spacing=(1.0, 1.0, 1.0))
    for module, name, tokens in (
        (augment, "_centre", ("1", *wanted)),  # the step and its cases
        (Bricks, "cut_into", wanted[:1]),
    ):
        monkeypatch.setattr(module, name, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError) as caught:
            list(BatchSource(sampler(cases), chain, seed=0).ahead(1, 3))
        (note,) = caught.value.__notes__
        for token in tokens:
            assert re.search(rf"\b{token}\b", note)
        assert set(re.findall(r"\bblob_\d+\b", note)) <= set(tokens)


def test_patches_are_read_straight_into_the_memory_given(cases: list[CachedCase]) -> None:
    """Also where a patch lies partly outside its scan: what was there before is gone."""
    large = PatchSampler(cases, size=(30, 30, 30), margin=(40, 40, 40), batch=2, foreground_share=1, seed=0)
    made: list[np.ndarray] = []

    def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        made.append(np.full(shape, 7, dtype))
        return made[-1]

    found, wanted = large.draw(3, allocate=allocate), large.draw(3)
    assert found.image is made[0] and found.labels is made[1] and len(made) == 2
    assert np.array_equal(found.image, wanted.image) and np.array_equal(found.labels, wanted.labels)
    assert not found.image[:, :, 0].any() and found.image.any()
