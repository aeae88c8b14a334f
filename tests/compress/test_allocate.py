import re

import pytest

from app.compress.allocate import RankChoice, allocate, lower_hull
from app.core.errors import InputError


def choices(*pairs: tuple[float, float]) -> list[RankChoice]:
    return [RankChoice(None, cost, error) for cost, error in pairs]


def costs(found: dict[str, RankChoice]) -> dict[str, float]:
    return {name: choice.cost for name, choice in found.items()}


def test_the_hull_leaves_out_what_a_mixture_beats() -> None:
    hull = lower_hull(choices((1, 1.0), (2, 0.9), (3, 0.1), (4, 0.2), (5, 0.0)))
    assert [(choice.cost, choice.error) for choice in hull] == [(1, 1.0), (3, 0.1), (5, 0.0)]


def test_the_best_error_for_its_cost_comes_first() -> None:
    cheap, costly = choices((1, 0.6), (3, 0.0)), choices((1, 1.0), (9, 0.0))
    assert costs(allocate({"a": choices((1, 1.0), (3, 0.0)), "b": cheap}, 4)) == {"a": 3, "b": 1}
    assert costs(allocate({"a": costly, "b": cheap}, 4)) == {"a": 1, "b": 3}
    assert costs(allocate({"a": costly, "b": cheap}, 12)) == {"a": 9, "b": 3}


def test_a_budget_below_the_least_is_named() -> None:
    with pytest.raises(InputError, match=r"compress\.budget") as error:
        allocate({"a": choices((3, 1.0)), "b": choices((4, 0.6))}, 5)
    assert {"5", "7"} <= set(re.findall(r"\d+", str(error.value)))  # the budget, the least that is needed
