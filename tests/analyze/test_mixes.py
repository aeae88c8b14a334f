"""The choice of mixes keeps its budget, repeats itself, and raises the score."""

import pytest

from app.analyze.convolutions import layers, objective
from app.analyze.mixes import GROUP_COUNTS, OVERLAPS, choose_mixes
from app.core.errors import InputError
from app.models.model import Shape
from app.models.network import NetworkSpec, design, network_from
from app.models.unet import UNetModel
from app.operators.rolling import Rolling

pytestmark = pytest.mark.e2e

PATCH = (8, 8, 8)
SHAPE = Shape(1, 2, (8, 8), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2, PATCH)


def spec(operator: Rolling) -> NetworkSpec:
    return design(UNetModel("plain", 1, 1, False), SHAPE, operator, None)


def test_mixes_of_the_paper_s_kernels_under_a_budget() -> None:
    full = spec(Rolling(1, None))
    found = choose_mixes(full, PATCH, measure="params", budget=0.9, advance=lambda: None)
    again = choose_mixes(full, PATCH, measure="params", budget=0.9, advance=lambda: None)
    assert found == again and found.after > found.before
    made = spec(found.operator)
    assert made.cost(PATCH).params <= 0.9 * full.cost(PATCH).params
    assert objective(layers(made, PATCH)) == pytest.approx(found.after)
    assert network_from(made.describe()) == made
    mixes = found.operator.convolutions
    assert mixes is not None and set(mixes) == {"encoder.0.0", "encoder.1.0", "decoder.0.0"}
    assert all(mix["groups"] in GROUP_COUNTS and mix["overlap"] in OVERLAPS for mix in mixes.values())
    assert any(mix["groups"] > 1 for mix in mixes.values())


def test_an_impossible_budget_and_an_unknown_convolution_are_named() -> None:
    with pytest.raises(InputError, match=r"analyze\.budget") as error:
        choose_mixes(spec(Rolling(1, None)), PATCH, measure="params", budget=0.01, advance=lambda: None)
    assert "0.01" in str(error.value)
    with pytest.raises(InputError, match=r"encoder\.9\.0"):
        spec(Rolling(1, None, {"encoder.9.0": {"groups": 2}}))
