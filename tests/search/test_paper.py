"""The searches of the CAKES paper against the rules of the authors' code, on cases computed by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.operators import ConvSpec
from app.operators.paths import PathsConv3d
from app.search.costs import Site
from app.search.decode import top_counts
from app.search.paper import PaperSettings
from app.search.penalty import gate_penalty
from app.search.search import network_scores
from tests.support.planted import SETTINGS, planted_search, train_planted

CUBE, PLANE, LINE = (Kernel(size) for size in ((3, 3, 3), (1, 3, 3), (3, 1, 1)))
PAPER = PaperSettings(lr=0.04, momentum=0.9, weight_decay=3e-4, clip_norm=20.0)


def test_the_penalty_pulls_scales_as_the_authors_add_to_gradients() -> None:
    """With the kernels of video, 9/13, 3/13 and 1/13 of the strength, by the sign of the scale."""
    module = PathsConv3d(2, 2, (CUBE, PLANE, LINE), (1, 1, 1))
    module.norm.weight.data = torch.tensor([0.3, -2.0, 1.0, -0.1, 0.5, -0.5])
    gate_penalty([module], 1e-4)().backward()
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    shares = torch.tensor([9.0, 9.0, 3.0, 3.0, 1.0, 1.0]) / 13
    torch.testing.assert_close(module.norm.weight.grad, 1e-4 * shares * signs)
    module.norm.weight.grad = None
    gate_penalty([PathsConv3d(2, 2, (PLANE, LINE), (1, 1, 1)), module], 1.0)().backward()
    torch.testing.assert_close(module.norm.weight.grad, shares * signs)


def test_of_two_kernels_the_dearer_has_three_quarters_of_the_penalty() -> None:
    module = PathsConv3d(2, 1, (PLANE, LINE), (1, 1, 1))
    gate_penalty([module], 1.0)().backward()
    torch.testing.assert_close(module.norm.weight.grad, torch.tensor([0.75, 0.25]))


@pytest.mark.parametrize("seed", range(5))
def test_as_many_paths_are_kept_as_by_the_authors_threshold(seed: int) -> None:
    """There a path is kept if its scale reaches the C-th largest of all; without ties these are C."""
    slots, kernels = 16, (CUBE, PLANE, LINE)
    scales = np.random.default_rng(seed).normal(size=(3, slots))
    threshold = np.sort(np.abs(scales), axis=None)[-slots]
    wanted = {k: int((np.abs(scales[i]) >= threshold).sum()) for i, k in enumerate(kernels)}
    site = Site(ConvSpec("a", 2, slots, (3, 3, 3), (1, 1, 1)), kernels)
    counts = top_counts([site], {"a": np.abs(scales)})["a"]
    assert counts == {kernel: n for kernel, n in wanted.items() if n}
    assert sum(counts.values()) == slots


def test_only_kernels_decay_and_momentum_is_plain() -> None:
    """Two steps by hand: v = g + decay * w, then v = 0.9 v + g + decay * w; w falls by lr * v."""
    kernel, scale = nn.Parameter(torch.full((1, 1, 1), 2.0)), nn.Parameter(torch.tensor([2.0]))
    optimizer = PAPER.optimizer(iter([kernel, scale]))
    for _ in range(2):
        optimizer.zero_grad()
        (kernel.sum() + scale.sum()).backward()
        optimizer.step()
    first = 1 + 3e-4 * 2.0
    after = 2.0 - 0.04 * first
    after -= 0.04 * (0.9 * first + 1 + 3e-4 * after)
    torch.testing.assert_close(kernel.data.flatten(), torch.tensor([after]))
    torch.testing.assert_close(scale.data, torch.tensor([2.0 - 0.04 - 0.04 * 1.9]))


def test_groups_of_parameters_are_split_alike() -> None:
    kernel, scale = nn.Parameter(torch.zeros(1, 1)), nn.Parameter(torch.zeros(1))
    groups = PAPER.optimizer([{"params": [kernel, scale]}]).param_groups
    assert all(group["params"][0] is one for group, one in zip(groups, (kernel, scale), strict=True))
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 3e-4), (1, 0.0)]


def test_the_learning_rate_warms_up_and_falls_twice() -> None:
    """70 steps stand for the 70 epochs of the authors' schedule."""
    optimizer = PAPER.optimizer([nn.Parameter(torch.zeros(1))])
    schedule = PAPER.schedule(optimizer, 70)
    rates = []
    for _ in range(70):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:6] == pytest.approx([0.01, 0.016, 0.022, 0.028, 0.034, 0.04])
    assert (rates[49], rates[50], rates[60], rates[69]) == pytest.approx((0.04, 0.004, 0.0004, 0.0004))
    constant = replace(PAPER, lr=0.01).schedule(PAPER.optimizer([nn.Parameter(torch.zeros(1))]), 70)
    assert constant.lr_lambdas[0](1) == pytest.approx(1.0)  # type: ignore[attr-defined]


def test_the_pull_of_the_published_search_is_what_its_schedule_adds_up_to() -> None:
    assert PAPER.reach(70_000) == pytest.approx(10 * 1000 * (5 * 0.025 + 45 * 0.04 + 10 * 0.0044), rel=1e-3)


def test_impossible_settings_are_named() -> None:
    for key, value in (("lr", 0.0), ("momentum", 1.0), ("weight_decay", -1.0), ("clip_norm", 0.0)):
        with pytest.raises(InputError, match=rf"search\.paper\.{key}\b") as error:
            replace(PAPER, **{key: value})
        assert str(value) in str(error.value)


@pytest.mark.e2e
@pytest.mark.parametrize("method", ["paper_cost", "paper_performance"])
def test_most_channels_find_the_planted_axis(method: str) -> None:
    """By chance a third of 32 channels keeps lines along D, and 20 or more do in one of 1400 searches."""
    torch.manual_seed(0)
    settings = replace(SETTINGS, method=method, kernels="1d")
    search, network = planted_search(settings, 0.25)
    paper = replace(PAPER, lr=0.1)
    train_planted(search, network, (0,), seed=0, steps=120 * settings.way.length, paper=paper)
    counts = search.decode(network_scores(network, search.sites)).counts
    assert [sum(of.values()) for of in counts.values()] == [16, 16]
    assert sum(of.get(LINE, 0) for of in counts.values()) >= 20
