"""The loss by which a race compares networks."""

import numpy as np
import pytest
import torch
from monai.losses.dice import DiceCELoss
from torch import nn

from app.data.sample.batches import Batch
from app.losses.losses import dice_ce
from app.search.judge import loss_over


def batch(rare: int, seed: int) -> Batch:
    """Two patches of which the first has `rare` voxels of label 1."""
    labels = torch.zeros(2, 4, 4, 4, dtype=torch.int64)
    labels[0].view(-1)[:rare] = 1
    labels[1, 2:] = 1
    image = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(seed))
    return Batch(image, labels, ("a", "b"))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv3d(3, 2, 1).eval()


@pytest.mark.parametrize("log", [False, True])
def test_batches_count_as_one(network: nn.Module, log: bool) -> None:
    loss, (first, second) = dice_ce(log=log), (batch(3, seed=1), batch(9, seed=2))
    image, labels = torch.cat([first.image, second.image]), torch.cat([first.labels, second.labels])
    with torch.inference_mode():
        whole = loss(network(image), labels[:, None].float()).item()
    assert loss_over(network, [first, second], loss) == pytest.approx(whole, rel=1e-6)
    assert loss_over(network, [first], loss) != pytest.approx(whole, rel=1e-3)


def test_a_loss_of_another_library_is_a_mean(network: nn.Module) -> None:
    loss, batches = DiceCELoss(to_onehot_y=True, softmax=True), [batch(3, seed=1), batch(9, seed=2)]
    with torch.inference_mode():
        values = [loss(network(one.image), one.labels[:, None].float()).item() for one in batches]
    assert loss_over(network, batches, loss) == pytest.approx(np.mean(values), rel=1e-6)
