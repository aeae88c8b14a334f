"""The penalty that holds a search's expected cost at its budget."""

import math

import pytest
import torch

from app.core.kernel import Kernel
from app.layers.candidates import SharedCandidates
from app.operators import ConvSpec
from app.operators.supernet import SampledConv3d
from app.search.costs import Budget, ParamsCost, Site
from app.search.penalty import budget_penalty

KERNELS = (Kernel((3, 1, 1)), Kernel((3, 3, 3)))


def test_the_penalty_is_the_squared_logarithm_of_expected_cost_over_budget() -> None:
    """With 2 inputs, a line has 6 weights and a cube 54 per channel; dense, 3 channels have 162.

    With chances of 3/4 and 1/4 for the lines of two channels and 1/2 for the third's, 2 * 18 + 30 = 66 are
    expected. A gate of temperature 1/2 changes them by 2 * channels * chance * (weights - expected weights).
    """
    site = Site(ConvSpec("a", 2, 3, (3, 3, 3), (1, 1, 1)), KERNELS, unit=2)
    module = SampledConv3d(SharedCandidates(2, 3, KERNELS), 3, (1, 1, 1), temperature=0.5, unit=2)
    module.gates.data = torch.stack([0.5 * torch.tensor([3.0, 1.0]).log(), torch.zeros(2)], dim=1)
    fits = budget_penalty({site: module}, Budget(ParamsCost(), 66 / 162), strength=3.0)
    assert fits().item() == pytest.approx(0, abs=1e-9)
    found = budget_penalty({site: module}, Budget(ParamsCost(), 33 / 162), strength=3.0)()
    assert found.item() == pytest.approx(3 * math.log(2) ** 2, rel=1e-5)
    found.backward()
    changes = torch.tensor([[2 * 2 * 0.75 * (6 - 18), 2 * 1 * 0.5 * (6 - 30)], [36.0, 24.0]])
    torch.testing.assert_close(module.gates.grad, 3 * 2 * math.log(2) / 66 * changes)
