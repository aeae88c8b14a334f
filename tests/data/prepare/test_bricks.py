import math
from itertools import product

import numpy as np
import pytest

from app.core.types import Size
from app.data.prepare.bricks import Bricks, stored_image, to_bricks


@pytest.mark.parametrize("size", [(70, 9, 101), (64, 64, 64), (65, 66, 3)])
def test_cuts_are_those_of_the_array(size: Size) -> None:
    rng = np.random.default_rng(0)
    voxels = rng.integers(1, 200, (2, *size)).astype(np.uint8)
    bricks = Bricks(to_bricks(voxels), size)
    np.testing.assert_array_equal(bricks.whole(np.uint8), voxels)
    padded = np.pad(voxels, [(0, 0), *[(20, 20)] * 3])
    for _ in range(20):
        start = [int(rng.integers(-15, extent + 5)) for extent in size]
        length = [int(rng.integers(1, 12)) for _ in size]
        place = [slice(low + 20, low + 20 + n) for low, n in zip(start, length, strict=True)]
        cut = bricks.cut(tuple(start), tuple(length), np.float32)  # type: ignore[arg-type]
        assert cut.dtype == np.float32 and bricks.channels == 2
        np.testing.assert_array_equal(cut, padded[(slice(None), *place)])


def test_a_patch_of_a_large_scan_reads_at_most_twice_itself_in_at_most_64_runs() -> None:
    size, patch = (600, 512, 512), (154, 154, 154)
    sides = to_bricks(np.zeros((1, *size), dtype=np.uint8)).shape[4:]
    bricks = Bricks(np.empty((19, 16, 16, 1, *sides), dtype=np.uint8), size)
    assert math.prod(bricks.stored.shape) < 1.02 * math.prod(size)
    found = [bricks.runs((d, h, h), patch) for d, h in product(range(0, 33), (0, 5, 17, 31, 358))]
    assert max(runs for runs, _ in found) <= 36
    assert max(voxels for _, voxels in found) <= 2 * 154**3


def test_half_precision_is_taken_where_no_voxel_is_off_by_more_than_a_256th() -> None:
    image = np.linspace(-16, 16, 100_001, dtype=np.float32).reshape(1, -1, 1, 1)
    half = stored_image(image)
    assert half.dtype == np.float16 and np.abs(half.astype(np.float32) - image).max() <= 1 / 256
    assert stored_image(np.zeros((1, 64, 2, 2), np.float32)).dtype == np.float32  # small: nothing to save
    assert stored_image(np.zeros((1, 2, 2, 65), np.float32)).dtype == np.float16
    for outlier in (17.0, -1e6):
        bright = np.append(image, np.float32(outlier)).reshape(1, -1, 1, 1)
        assert stored_image(bright).dtype == np.float32
