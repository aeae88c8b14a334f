"""Outlines and what is inside them, against masks drawn at random and against matplotlib."""

import matplotlib.path
import numpy as np
import pytest

from app.io.contours import combine, fill, outlines

RING = np.zeros((9, 9), dtype=bool)
RING[1:8, 1:8] = True
RING[3:6, 3:6] = False
ISLAND = RING.copy()
ISLAND[4, 4] = True


def square(low: float, high: float) -> np.ndarray:
    return np.array([[low, low], [high, low], [high, high], [low, high]])


def test_filling_outlines_gives_the_mask_back() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        size = (int(rng.integers(1, 14)), int(rng.integers(1, 14)))
        mask = rng.random(size) < rng.uniform(0.2, 0.95)
        polygons = outlines(mask)
        np.testing.assert_array_equal(fill(polygons, size), mask)
        np.testing.assert_array_equal(combine(polygons, size), mask)


def test_a_hole_is_joined_by_a_keyhole() -> None:
    (ring,) = outlines(RING)
    assert (
        len(ring) == 10 and len(outlines(ISLAND)) == 2
    )  # 4 corners, 4 of the hole, the bridge there and back
    centres = np.argwhere(np.ones_like(RING))
    for mask in (RING, ISLAND):
        inside = [matplotlib.path.Path(polygon).contains_points(centres) for polygon in outlines(mask)]
        np.testing.assert_array_equal(np.any(inside, axis=0).reshape(mask.shape), mask)


@pytest.mark.parametrize("order", [1, -1])
def test_inner_contours_are_holes_others_are_joined(order: int) -> None:
    outer, hole, island = square(0.5, 7.5), square(2.5, 5.5), square(3.5, 4.5)
    np.testing.assert_array_equal(combine([outer, hole][::order], (9, 9)), RING)
    np.testing.assert_array_equal(combine([outer, hole, island][::order], (9, 9)), ISLAND)
    joined = combine([square(0.5, 4.5), square(2.5, 7.5)][::order], (9, 9))
    assert joined.sum() == 16 + 25 - 4
    assert combine([outer, outer], (9, 9)).sum() == 49  # a copy does not cut the other out


def test_centres_on_an_edge_are_inside() -> None:
    assert fill([square(1, 4)], (6, 6)).sum() == 16
    assert fill([square(1, 4)], (3, 6)).sum() == 8  # cut by the grid
    assert not fill([square(7, 9)], (6, 6)).any()
