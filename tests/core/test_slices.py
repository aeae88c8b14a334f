import pytest

from app.core.slices import count_stacks, interleaved_spacing, sliced_axis
from app.core.types import Spacing

HEART: Spacing = (10.0, 1.5, 1.5)


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [((10, 1.5, 1.5), 0), ((1.5, 10, 1.5), 1), ((2, 1, 1), None), ((2.1, 1, 1), 0), ((5, 4, 1), None)],
)
def test_slices_are_thick_if_over_twice_as_long_as_both_other_axes(spacing: Spacing, axis: int) -> None:
    assert sliced_axis(spacing) == axis


@pytest.mark.parametrize(
    ("own", "stacks"),
    [
        (20.0, 1),
        (10.0, 1),
        (5.9, 1),  # two steps of 5.9 mm are more than 10 / .85 mm
        (5.88, 2),
        (5.0, 2),
        (3.92, 3),
        (3.0, 3),
        (2.5, 4),
        (1.0, 4),  # at most four
    ],
)
def test_stacks_have_about_the_slices_of_the_grid(own: float, stacks: int) -> None:
    assert count_stacks(HEART, (own, 0.9, 3.0)) == stacks


def test_a_grid_without_thick_slices_has_one_stack() -> None:
    assert count_stacks((2.0, 1.0, 1.0), (0.5, 0.5, 0.5)) == 1


def test_interleaved_stacks_lie_on_a_grid_of_thinner_slices() -> None:
    assert interleaved_spacing(HEART, (5.0, 0.9, 3.0)) == (5.0, 1.5, 1.5)
    assert interleaved_spacing(HEART, (1.0, 1.0, 1.0)) == (2.5, 1.5, 1.5)
    assert interleaved_spacing(HEART, (9.0, 1.0, 1.0)) == HEART
    assert interleaved_spacing((2.0, 1.0, 1.0), (0.5, 0.5, 0.5)) == (2.0, 1.0, 1.0)
