import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from app.core.machine import memory_bytes
from app.data.prepare.cached_case import CachedCase
from app.data.sample.patches import PatchSampler
from tests.support.networks import sampler


def test_a_step_gives_the_same_patches_whatever_came_before(cases: list[CachedCase]) -> None:
    first, second = sampler(cases), sampler(cases)
    first.draw(0)
    np.testing.assert_array_equal(first.draw(7).image, second.draw(7).image)
    assert not np.array_equal(first.draw(7).image, sampler(cases, seed=1).draw(7).image)


def test_every_case_comes_once_before_any_comes_again(cases: list[CachedCase]) -> None:
    drawn = [case for step in range(5) for case in sampler(cases).draw(step).cases]
    assert sorted(drawn[:5]) == sorted(drawn[5:]) == sorted(case.id for case in cases)


def test_the_forced_part_of_a_batch_is_centred_on_foreground(cases: list[CachedCase]) -> None:
    patches = [sampler(cases).draw(step) for step in range(20)]
    assert all(batch.labels[1].any() for batch in patches)
    assert not all(batch.labels[0].any() for batch in patches)


@pytest.mark.parametrize(("batch", "share"), [(1, 0.25), (2, 0.67), (3, 0.5)])
def test_the_share_on_foreground_holds_over_steps_whatever_the_batch(
    tmp_path: Path, batch: int, share: float
) -> None:
    labels = np.zeros((40, 40, 40), dtype=np.uint8)
    labels[20, 20, 20] = 1  # what patches from anywhere hardly ever meet
    np.save(tmp_path / "image.npy", np.zeros((1, 40, 40, 40), dtype=np.float32))
    np.save(tmp_path / "labels.npy", labels[None])
    np.save(tmp_path / "foreground.npy", np.array([[1, 20, 20, 20]], dtype=np.int32))
    case = CachedCase("tiny", tmp_path)
    drawn = PatchSampler(
        [case], size=(2, 2, 2), margin=(2, 2, 2), batch=batch, foreground_share=share, seed=0
    )
    steps = 120 // batch
    centred = sum(int(patch.any()) for step in range(steps) for patch in drawn.draw(step).labels)
    assert centred == int(share * steps * batch)


def test_each_label_is_drawn_as_often_however_small(tmp_path: Path) -> None:
    """One voxel of label 2 among 511 of label 1 is the centre of half of the patches."""
    labels = np.ones((1, 8, 8, 8), dtype=np.uint8)
    labels[0, 3, 4, 5] = 2
    rows = np.column_stack([labels.ravel(), np.argwhere(labels[0])]).astype(np.int32)
    np.save(tmp_path / "image.npy", np.zeros((1, 8, 8, 8), dtype=np.float32))
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "foreground.npy", rows[np.argsort(rows[:, 0], kind="stable")])
    case = CachedCase("rare", tmp_path)
    drawn = PatchSampler([case], size=(1, 1, 1), margin=(1, 1, 1), batch=1, foreground_share=1.0, seed=0)
    found = [int(drawn.draw(step).labels.item()) for step in range(400)]
    assert set(found) == {1, 2} and 0.4 < found.count(2) / 400 < 0.6


def test_patch_larger_than_the_volume_is_padded_with_zeros(cases: list[CachedCase]) -> None:
    big = PatchSampler(
        cases, size=(40, 40, 40), margin=(40, 40, 40), batch=1, foreground_share=1.0, seed=0
    ).draw(0)
    case = next(case for case in cases if case.id == big.cases[0])
    assert big.image.shape == (1, 1, 40, 40, 40)
    np.testing.assert_allclose(big.image.sum(), case.image().whole(np.float32).sum(), rtol=1e-4, atol=0.5)
    assert big.labels.sum() == case.labels().whole(np.uint8).sum()


def test_the_margin_lies_evenly_around_the_patch(cases: list[CachedCase]) -> None:
    wide = sampler(cases).draw(3)
    narrow = PatchSampler(
        cases, size=(4, 4, 4), margin=(4, 4, 4), batch=2, foreground_share=0.5, seed=0
    ).draw(3)
    np.testing.assert_array_equal(wide.image[..., 1:-1, 1:-1, 1:-1], narrow.image)


def test_a_cache_larger_than_memory_is_drawn_from(tmp_path: Path) -> None:
    """A file with a hole: as long as all memory, with nothing on disk but what was written."""
    slices = memory_bytes() // (4 * 1024 * 1024) + 1
    image = np.lib.format.open_memmap(
        tmp_path / "image.npy", mode="w+", dtype=np.float32, shape=(1, slices, 1024, 1024)
    )
    np.lib.format.open_memmap(tmp_path / "labels.npy", mode="w+", dtype=np.uint8, shape=image.shape)
    last = [slices - 1, 1000, 1000]
    image[0, slices - 1, 1000, 1000] = 7
    np.save(tmp_path / "foreground.npy", np.array([[1, *last]], dtype=np.int32))
    del image
    tracemalloc.start()
    drawn = sampler([CachedCase("large", tmp_path)], share=1.0).draw(0)
    assert drawn.image.shape == (2, 1, 6, 6, 6) and (drawn.image == 7).sum() == 2
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
