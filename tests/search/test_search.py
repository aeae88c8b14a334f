"""A search that can be checked: where the right kernels are known, they are found."""

from dataclasses import replace

import pytest
import torch

from app.search.search import network_scores
from tests.support.planted import SETTINGS, planted_search, train_planted

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("axes", "kernels", "share", "planted"),
    [((0,), "1d", 1 / 9, "3x1x1"), ((0, 2), "2d", 1 / 3, "3x1x3")],
    ids=["rods along D", "plates in D and W"],
)
def test_the_layout_follows_the_planted_axes(
    axes: tuple[int, ...], kernels: str, share: float, planted: str, seed: int
) -> None:
    """The planted kernel has at least twice as many channels as all others together."""
    torch.manual_seed(seed)
    search, network = planted_search(replace(SETTINGS, kernels=kernels), share)
    train_planted(search, network, axes, seed=seed, steps=120)
    counts = search.decode(network_scores(network, search.sites)).counts
    found = sum(n for of in counts.values() for kernel, n in of.items() if str(kernel) == planted)
    assert found >= 2 * (32 - found)
