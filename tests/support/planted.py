"""Volumes whose right kernels are known: rods and plates at random places, in noise.

The label is constant along a planted axis and random along the others, so only kernel taps along planted
axes can separate label from noise."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from app.models.blocks import PlainBlock
from app.operators import ConvSpec
from app.operators.supernet import SuperNet
from app.search.costs import Budget, MacsCost, Site
from app.search.methods import SearchSettings
from app.search.paper import PaperSettings
from app.search.search import Search

SIZE = 12


SETTINGS = SearchSettings(
    method="gates",
    budget=0.25,
    cost="macs",
    limits={},
    kernels="123d",
    where="encoder",
    weights="shared",
    align=None,
    trials=48,
    temperature=0.1,
    strength=None,
    latency_table=None,
    model=None,
    patches=1,
    rows=200,
)


def planted_batch(axes: tuple[int, ...], rng: torch.Generator, batch: int = 4) -> tuple[Tensor, Tensor]:
    """Image (B, 1, 12, 12, 12) and labels of the same shape, constant along `axes` of (D, H, W)."""
    shape = [1 if axis in axes else SIZE for axis in range(3)]
    labels = (torch.rand(batch, 1, *shape, generator=rng) < 0.3).float().expand(-1, -1, SIZE, SIZE, SIZE)
    return labels + 0.8 * torch.randn(labels.shape, generator=rng), labels


class Network(nn.Module):
    """Two searched convolutions of 16 channels and a head."""

    def __init__(self, operator: SuperNet) -> None:
        super().__init__()
        first, second = convolutions()
        second = replace(second, in_channels=operator.width(first))
        self.encoder = nn.Sequential(PlainBlock([first], operator), PlainBlock([second], operator))
        self.head = nn.Conv3d(operator.width(second), 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(x))
        return logits


def convolutions() -> list[ConvSpec]:
    size = (SIZE, SIZE, SIZE)
    return [
        ConvSpec(f"encoder.0.{index}", channels, 16, (3, 3, 3), (1, 1, 1), size)
        for index, channels in enumerate((1, 16))
    ]


def planted_search(settings: SearchSettings, share: float) -> tuple[Search, Network]:
    """Return a search over the two convolutions and its super-network; torch draws the weights."""
    supernet = SuperNet(
        settings.kernels, "encoder", settings.way.paths, settings.path_weights, settings.temperature
    )
    operator = supernet.bind(convolutions())
    assert isinstance(operator, SuperNet)
    sites = tuple(Site(conv, operator.candidates(conv), operator.unit_of(conv)) for conv in convolutions())
    return Search(settings, sites, Budget(MacsCost(), share)), Network(operator)


def train_planted(
    search: Search,
    network: Network,
    axes: tuple[int, ...],
    *,
    seed: int,
    steps: int,
    paper: PaperSettings | None = None,
) -> float:
    """Train the super-network; return the last loss, penalty included."""
    rng = torch.Generator().manual_seed(seed)
    loss = search.loss(nn.functional.binary_cross_entropy_with_logits, network)
    if paper is None:
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    else:
        optimizer = paper.optimizer(network.parameters())
    network.train()
    value = torch.zeros(())
    for _ in range(steps):
        image, labels = planted_batch(axes, rng)
        value = loss(network(image), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return float(value.detach())
