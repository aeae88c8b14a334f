"""The static optimisers keep the budget, repeat themselves and never lower the score."""

import re

import pytest
import torch

from app.analyze.convolutions import layers, objective
from app.analyze.kernels import choose_kernels
from app.analyze.settings import AnalyzeSettings
from app.analyze.stages import arrange
from app.core.errors import InputError
from app.models.model import Shape
from app.models.network import NetworkSpec, design, network_from
from app.models.unet import UNetModel
from app.operators.mixed import Mixed
from app.operators.plain import Conv3d

pytestmark = pytest.mark.e2e

SHAPE = Shape(1, 2, (4, 8, 8), ((1, 1, 1), (2, 2, 2), (1, 2, 2)), ((3, 3, 3),) * 3)
PATCH = (16, 32, 32)


SMALL = Shape(1, 2, (4, 4), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
"""A smaller network, as the choice of kernels looks at every channel."""


def spec(blocks: int = 2, shape: Shape = SHAPE) -> NetworkSpec:
    return design(UNetModel("plain", blocks, 1, True), shape, Conv3d(), None)


@pytest.fixture(autouse=True)
def _untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Static: whoever asks for a gradient fails."""

    def fail(*_given: object, **_named: object) -> None:
        raise AssertionError("a static optimiser trains nothing")

    monkeypatch.setattr(torch.Tensor, "backward", fail)
    monkeypatch.setattr(torch.autograd, "grad", fail)


@pytest.mark.parametrize("unit", ["params", "macs"])
def test_blocks_move_within_the_budget(unit: str) -> None:
    before = spec()
    moves: list[None] = []
    found = arrange(before, PATCH, measure=unit, budget=1.0, advance=lambda: moves.append(None))
    again = arrange(before, PATCH, measure=unit, budget=1.0, advance=lambda: None)
    assert found == again and found.after > found.before and moves
    after = design(found.model, SHAPE, Conv3d(), None)
    assert getattr(after.cost(PATCH), unit) <= getattr(before.cost(PATCH), unit)
    assert objective(layers(after, PATCH)) == found.after
    counts = (*found.model.blocks("encoder", 3), *found.model.blocks("decoder", 2))
    assert sum(counts) == 8 and counts != (2, 2, 2, 1, 1)
    assert network_from(after.describe()) == after


def test_a_budget_that_nothing_fits_moves_nothing() -> None:
    found = arrange(spec(), PATCH, measure="macs", budget=0.01, advance=lambda: None)
    assert found.model.blocks("encoder", 3) == (2, 2, 2) and found.after == found.before


@pytest.mark.parametrize("unit", ["params", "macs"])
def test_kernels_widen_within_the_budget(unit: str) -> None:
    before = spec(blocks=1, shape=SMALL)
    found = choose_kernels(before, PATCH, measure=unit, budget=0.5, advance=lambda: None)
    assert found == choose_kernels(before, PATCH, measure=unit, budget=0.5, advance=lambda: None)
    assert found.after > found.before
    after = design(before.model, SMALL, Mixed(found.layout), None)
    cost = getattr(after.cost(PATCH), unit)
    assert cost == found.cost and cost <= 0.5 * getattr(before.cost(PATCH), unit)
    assert objective(layers(after, PATCH)) == found.after


def test_impossible_settings_are_named() -> None:
    with pytest.raises(InputError, match=r"analyze\.budget") as error:
        choose_kernels(spec(), PATCH, measure="macs", budget=0.01, advance=lambda: None)
    budget, least = sorted(float(share) for share in re.findall(r"\d+\.\d+", str(error.value)))
    assert budget == 0.01 and 0.1 < least < 1  # the share of 1D kernels everywhere
    for values, tokens in [
        ((True, "channel", 1.0, "macs"), ("analyze.optimise", "channel", "stage", "kernel")),
        ((True, None, 1.0, "joules"), ("analyze.cost", "joules", "params", "macs")),
        ((True, None, 0.0, "macs"), ("analyze.budget", "0.0")),
    ]:
        with pytest.raises(InputError) as error:
            AnalyzeSettings(*values)  # type: ignore[arg-type]
        for token in tokens:
            assert token in str(error.value)
