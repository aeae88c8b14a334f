from itertools import product

import torch
from torch import nn

from app.models.regions import RegionNetwork

BRAIN = ((1, 2, 3), (2, 3), (3,))  # whole, core, enhancing


class Given(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def likelihood(value: int, logits: torch.Tensor) -> torch.Tensor:
    """Product of the chances of each region to hold or leave out the value."""
    chances = [
        torch.sigmoid(logit if value in region else -logit)
        for logit, region in zip(logits, BRAIN, strict=True)
    ]
    return torch.stack(chances).prod()


def test_labels_are_the_likeliest_given_the_regions() -> None:
    network = RegionNetwork(Given(), BRAIN).eval()
    for signs in product((-3.0, 2.0), repeat=3):
        logits = torch.tensor(signs)
        labels = network(logits.view(1, 3, 1, 1, 1)).flatten()
        wanted = torch.stack([likelihood(value, logits) for value in range(4)])
        torch.testing.assert_close(labels.softmax(0), wanted / wanted.sum())


def test_nested_regions_by_hand() -> None:
    network = RegionNetwork(Given(), BRAIN).eval()
    for logits, label in (
        ((-1, -2, -3), 0),
        ((5, -1, -2), 1),
        ((5, 1, -2), 2),
        ((5, 1, 2), 3),
        ((-1, 3, -2), 2),
    ):
        given = torch.tensor(logits, dtype=torch.float32).view(1, 3, 1, 1, 1)
        assert int(network(given).argmax(1)) == label


def test_training_sees_the_regions_themselves() -> None:
    network = RegionNetwork(Given(), BRAIN).train()
    given = torch.randn(2, 3, 2, 2, 2)
    assert torch.equal(network(given), given)
    assert list(network.state_dict()) == []
