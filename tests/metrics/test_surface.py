"""Surface distances by hand, and value by value as MONAI computes them one at a time."""

import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_dice import compute_surface_dice
from monai.metrics.surface_distance import compute_average_surface_distance
from scipy import ndimage

from app.core.types import Spacing
from app.metrics.metric import Mask
from app.metrics.surface import SurfaceDistances, surface_distances

UNIT: Spacing = (1.0, 1.0, 1.0)


def cube(start: int, stop: int) -> Mask:
    mask = np.zeros((22, 22, 22), dtype=bool)
    mask[1 + start : 1 + stop, 6:16, 6:16] = True
    return mask


def test_distances_are_in_millimetres() -> None:
    assert surface_distances(cube(5, 15), cube(5, 15), UNIT, 1.0) == SurfaceDistances(0.0, 0.0, 1.0)
    assert surface_distances(cube(5, 15), cube(8, 18), UNIT, 1.0).hd95_mm == pytest.approx(3.0)
    assert surface_distances(cube(5, 15), cube(8, 18), (2.5, 1.0, 1.0), 1.0).hd95_mm == pytest.approx(7.5)


def test_one_voxel() -> None:
    one, other = np.zeros((9, 9, 9), dtype=bool), np.zeros((9, 9, 9), dtype=bool)
    one[4, 4, 4], other[4, 4, 6] = True, True
    found = surface_distances(one, other, (1.0, 1.0, 1.5), 1.0)
    assert (found.hd95_mm, found.assd_mm, found.nsd) == (3.0, 3.0, 0.0)


def test_a_stray_voxel_is_beyond_the_95th_percentile() -> None:
    predicted = cube(5, 15)
    predicted[1, 1, 1] = True
    assert surface_distances(predicted, cube(5, 15), UNIT, 1.0).hd95_mm == 0.0


def test_surface_dice_by_tolerance() -> None:
    first, second = cube(5, 15), cube(7, 17)
    assert surface_distances(first, second, UNIT, 2.1).nsd == pytest.approx(1.0)
    assert 0.3 < surface_distances(first, second, UNIT, 0.9).nsd < 0.8
    in_mm = [surface_distances(first, second, (2.0, 1.0, 1.0), tolerance).nsd for tolerance in (2.1, 4.1)]
    assert in_mm[0] < 0.9 and in_mm[1] == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(6))
def test_as_monai_on_random_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spacing: Spacing = (2.5, 0.7, 1.3)
    first, second = (
        np.pad(ndimage.gaussian_filter(rng.normal(size=(14, 17, 12)), 1.5) > 0.02 * seed, 1) for _ in range(2)
    )
    batches = [torch.from_numpy(mask)[None, None].float() for mask in (first, second)]
    found = surface_distances(first, second, spacing, 1.0)
    shared = {"include_background": True, "spacing": list(spacing)}
    assert found.hd95_mm == pytest.approx(
        compute_hausdorff_distance(*batches, percentile=95, **shared).item(), rel=1e-6
    )
    assert found.assd_mm == pytest.approx(
        compute_average_surface_distance(*batches, symmetric=True, **shared).item(), rel=1e-6
    )
    assert found.nsd == pytest.approx(
        compute_surface_dice(*batches, [1.0], use_subvoxels=True, **shared).item(), rel=1e-5
    )
