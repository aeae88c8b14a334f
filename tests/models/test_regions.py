from dataclasses import replace
from itertools import product

import torch
from torch import nn

from app.analyze.convolutions import layers
from app.models.model import Shape
from app.models.network import build_named, design, network_from
from app.models.regions import RegionNetwork
from app.models.unet import UNetModel
from app.operators.plain import Conv3d

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


def test_what_looks_into_networks_finds_its_way_through_regions() -> None:
    shape = Shape(1, 3, (4, 6), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3), (3, 3, 3)), (16, 16, 16), BRAIN)
    spec = design(UNetModel("plain", 1, 1, True), shape, Conv3d(), None)
    network, paths = build_named(spec)
    network.load_state_dict(network_from(spec.describe()).build().state_dict())
    assert all(isinstance(network.get_submodule(path), nn.Conv3d) for path in paths.values())
    assert network.eval()(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 4, 16, 16, 16)
    plain = design(spec.model, replace(shape, regions=()), Conv3d(), None)
    assert layers(spec, (16, 16, 16)) == layers(plain, (16, 16, 16))
