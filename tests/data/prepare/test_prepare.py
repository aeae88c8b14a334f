from dataclasses import replace

import numpy as np
import pytest

from app.core.errors import InputError
from app.core.plan import Normalisation, Plan
from app.data.prepare.prepare import prepare
from app.io.volumes import Volume

PLAN = Plan(
    spacing=(1.0, 1.0, 1.0),
    patch=(8, 8, 8),
    batch=2,
    widths=(4,),
    strides=((1, 1, 1),),
    kernels=((3, 3, 3),),
    normalisation=(Normalisation("zscore_nonzero"),),
    foreground_share=0.5,
    steps=1,
)


@pytest.mark.parametrize("mm", [1.0, 1.1, 0.9])
def test_a_blanked_background_stays_zero_at_any_spacing(mm: float) -> None:
    """Statistics are of the tissue on the scan's own grid: resampling leaves no voxel exactly zero."""
    places = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij")) - 15.5
    ball = (places**2).sum(0) < 12**2
    scan = np.where(ball, np.random.default_rng(0).normal(500, 80, ball.shape), 0).astype(np.float32)
    scan[0, 0, 0] = scan[-1, -1, -1] = 500  # so that the crop keeps the background
    image = prepare(Volume(np.eye(4), scan[None]), None, replace(PLAN, spacing=(mm, mm, mm))).image[0]
    middle = tuple(slice(size // 2 - 4, size // 2 + 4) for size in image.shape)
    assert abs(float(image[middle].mean())) < 0.1 and 0.7 < float(image[middle].std()) < 1.1
    np.testing.assert_allclose(image[:3, -3:, :3], 0, atol=0.01)


@pytest.mark.parametrize("mm", [1.0, 0.8])
def test_preparing_leaves_the_scan_as_it_is(mm: float) -> None:
    scan = np.random.default_rng(0).normal(40, 9, (1, 7, 8, 9)).astype(np.float32)
    kept = scan.copy()
    prepare(Volume(np.eye(4), scan), None, replace(PLAN, spacing=(mm, mm, mm)))
    np.testing.assert_array_equal(scan, kept)


def test_a_small_scan_that_would_grow_beyond_measure_is_refused() -> None:
    """12 x 10 x 8 voxels of which one side is 102.4 m long would take 150 MB."""
    volume = Volume(np.diag([102400.0, 2, 4, 1]), np.ones((1, 12, 10, 8), dtype=np.float32))
    with pytest.raises(InputError, match="millimetres") as error:
        prepare(volume, None, PLAN)
    for token in ("8x10x12", "4 x 2 x 1.024e+05 mm", "32x20x1228800", "1 x 1 x 1 mm", "1000 times"):
        assert token in str(error.value)
    coarse = Volume(np.diag([5.0, 5, 20, 1]), np.ones((1, 2, 2, 2), dtype=np.float32))
    assert prepare(coarse, None, PLAN).image.shape == (1, 40, 10, 10)
