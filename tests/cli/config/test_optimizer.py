"""The learning rates of a training with the settings' own schedule."""

import pytest
import torch

from app.cli.config.optimizer import build_updates
from tests.support.config import composed


def test_the_rate_is_full_in_the_first_step_and_ends_as_a_power_of_the_share_of_steps_left() -> None:
    make_optimizer, make_schedule = build_updates(composed("optimizer.lr=0.5"))
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    optimizer = make_optimizer([weight])
    schedule = make_schedule(optimizer, 4)
    rates: list[float] = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.5, 0.5 * 0.75**0.9, 0.5 * 0.5**0.9, 0.5 * 0.25**0.9, 0.0])
