"""Networks timed in turn."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from app.train import timing
from app.train.settings import TrainSettings
from app.train.state import TrainingState
from app.train.timing import Subject, Timing, time_networks


def subject(width: int) -> Subject:
    network = nn.Sequential(nn.Conv3d(1, width, 3, padding=1), nn.Conv3d(width, 2, 3, padding=1))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    settings = TrainSettings(1, 1, None, None, None, None, None)
    state = TrainingState(network, optimizer, schedule, settings)
    return Subject(
        state,
        lambda logits, labels: nn.functional.cross_entropy(logits, labels[:, 0].long()),
        in_channels=1,
        labels=2,
        patch=(12, 12, 12),
        batch=2,
        clip_norm=None,
    )


def test_times_are_milliseconds_of_each_network_in_the_order_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only networks move: a pass takes 2 seconds in one of them, a quarter in the other."""
    ticks = [0.0]
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: ticks[-1]))
    subjects = {"wide": subject(3), "narrow": subject(1)}
    for seconds, timed in zip((2.0, 0.25), subjects.values(), strict=True):
        timed.state.network.register_forward_hook(
            lambda *_, seconds=seconds: ticks.append(ticks[-1] + seconds)
        )
    found = time_networks(subjects)
    assert list(found.items()) == [("wide", Timing(2000.0, 2000.0)), ("narrow", Timing(250.0, 250.0))]


def test_one_patch_goes_forward_and_a_batch_through_a_training_step() -> None:
    timed = subject(1)
    network = timed.state.network
    seen: set[tuple[int, bool, bool]] = set()  # patches, with gradients, in training mode
    network.register_forward_pre_hook(
        lambda module, args: seen.add((len(args[0]), torch.is_grad_enabled(), module.training))
    )
    steps: list[None] = []
    timed.state.optimizer.register_step_post_hook(lambda *_: steps.append(None))
    before = [parameter.clone() for parameter in network.parameters()]
    time_networks({"narrow": timed})
    assert seen == {(1, False, False), (2, True, True)}
    assert len(steps) == timed.state.step > 0
    assert not any(map(torch.equal, before, network.parameters()))
