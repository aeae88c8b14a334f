"""How much channels matter, from gradients."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from app.core.kernel import Kernel
from app.core.layout import Layout
from app.search.channel_worth import ChannelWorth


@pytest.mark.parametrize(
    ("slope", "known"), [(1.0, True), (0.0, False), (float("nan"), False), (1e200, False)]
)
def test_importance_that_is_zero_or_not_finite_is_left_out(slope: float, known: bool) -> None:
    norm = nn.InstanceNorm3d(4, affine=True).double()
    network = nn.Sequential(nn.Sequential(nn.Conv3d(1, 4, 1), norm))
    state: Any = SimpleNamespace(network=network)
    layout = Layout({"a": {Kernel((3, 1, 1)): 1, Kernel((1, 3, 1)): 3}})
    worth = ChannelWorth(state, layout, {"a": "0.0"})
    norm.weight.grad = torch.full((4,), slope, dtype=torch.float64)
    worth.add()
    assert worth.found() == ({"a": {"3x1x1": 1.0, "1x3x1": 1.0}} if known else {})


def test_importance_is_the_squared_change_summed_over_steps() -> None:
    """Changes, scale * gradient + shift * gradient, are 2, -1, 0, 1, then 0, 1, 2, 1: squares 4, 2, 4, 2."""
    norm = nn.InstanceNorm3d(4, affine=True).double()
    state: Any = SimpleNamespace(network=nn.Sequential(nn.Sequential(nn.Conv3d(1, 4, 1), norm)))
    layout = Layout({"a": {Kernel((3, 1, 1)): 1, Kernel((1, 3, 1)): 3}})
    worth = ChannelWorth(state, layout, {"a": "0.0"})
    norm.weight.data = torch.tensor([1.0, 1.0, 2.0, -1.0]).double()
    norm.bias.data = torch.tensor([1.0, 0.0, 1.0, 1.0]).double()
    for scales, shifts in (
        ([1.0, -1.0, 1.0, -2.0], [1.0, 5.0, -2.0, -1.0]),
        ([1.0, 1.0, 1.0, -1.0], [-1.0, 9.0, 0.0, 0.0]),
    ):
        norm.weight.grad, norm.bias.grad = torch.tensor(scales).double(), torch.tensor(shifts).double()
        worth.add()
    found = worth.found()["a"]
    assert found == pytest.approx({"3x1x1": 4 / 3, "1x3x1": (2 + 4 + 2) / 3 / 3})
