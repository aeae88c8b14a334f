"""Parts of a label map that lie far from the others."""

import numpy as np
import pytest

from app.infer.scan.distant_parts import DISTANCES_MM, drop_distant, joining_distance

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 1.0, 1.0), (0.6, 0.7, 0.8)]


def cubes(gap_mm: float, spacing: tuple[float, float, float], axis: int) -> np.ndarray:
    """Label 1: a block of 12 mm; label 2: a block of 5 mm, `gap_mm` behind it along an axis."""
    size = [round(24 / mm) for mm in spacing]
    size[axis] = round((24 + gap_mm + 10) / spacing[axis])
    labels = np.zeros(size, dtype=np.uint8)
    large, small = ([slice(0, round(mm / own)) for own in spacing] for mm in (12.0, 5.0))
    labels[tuple(large)] = 1
    start = round((12 + gap_mm) / spacing[axis])
    small[axis] = slice(start, start + round(5 / spacing[axis]))
    labels[tuple(small)] = 2
    return labels


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_smaller_part_goes_where_it_is_far(spacing: tuple[float, float, float], axis: int) -> None:
    near, far = cubes(4, spacing, axis), cubes(30, spacing, axis)
    before = near.copy()
    assert drop_distant(near, spacing, 10.0) == 0
    np.testing.assert_array_equal(near, before)
    small = int((far == 2).sum())
    assert drop_distant(far, spacing, 10.0) == small > 0
    assert not (far == 2).any() and (far == 1).sum() == (before == 1).sum()
    kept = cubes(30, spacing, axis)
    assert drop_distant(kept, spacing, 40.0) == 0


def test_parts_in_a_chain_are_one_group() -> None:
    labels = np.zeros((60, 3, 3), dtype=np.uint16)
    labels[[0, 8, 16, 24]] = 300  # each 8 mm from the next
    labels[50] = 1
    assert drop_distant(labels, (1.0, 1.0, 1.0), 10.0) == 9
    assert np.flatnonzero(labels[:, 0, 0]).tolist() == [0, 8, 16, 24]


def test_the_distance_is_the_smallest_that_joins_every_reference() -> None:
    spacing = (1.0, 1.0, 1.0)
    masks = [cubes(gap, spacing, 0) > 0 for gap in (0, 4, 14, 33)]
    assert joining_distance(masks[:2], spacing) == DISTANCES_MM[0] == 10
    assert joining_distance(masks[:3], spacing) == 20
    assert joining_distance(masks, spacing) == 40
    assert joining_distance([*masks, cubes(60, spacing, 0) > 0], spacing) is None
    assert joining_distance([np.zeros((3, 3, 3), dtype=np.bool_)], spacing) is None


def test_an_empty_label_map_stays() -> None:
    labels = np.zeros((4, 4, 4), dtype=np.uint8)
    assert drop_distant(labels, (1.0, 1.0, 1.0), 10.0) == 0
