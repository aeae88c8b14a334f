import pytest

from app.data.prepare.geometry import Geometry, Region
from app.train.locate import learnt_margin, outside

GEOMETRY = Geometry(
    ((0, 1), (1, 1), (2, 1)), (20, 40, 40), (0, 0, 0), (20, 40, 40), (5.0, 1.0, 1.0), (20, 40, 40)
)


def test_what_reaches_out_is_told_in_millimetres_of_the_further_side() -> None:
    wanted, found = Region((4, 10, 10), (8, 20, 20)), Region((5, 12, 5), (8, 19, 25))
    assert outside(wanted, found, GEOMETRY) == (5.0, 2.0, 0.0)


def test_a_margin_would_have_held_every_case_and_a_coarse_voxel_more() -> None:
    assert learnt_margin([(5.0, 2.0, 0.0), (0.0, 3.0, 1.0)], (10.0, 4.0, 4.0)) == (15.0, 7.0, 5.0)
    assert learnt_margin([], (10.0, 4.0, 4.0)) == pytest.approx((10.0, 4.0, 4.0))
