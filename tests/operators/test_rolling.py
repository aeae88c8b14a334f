"""The rolling pointwise convolution: what it computes, what it costs, and which channels it reaches."""

import pytest
import torch
import torch.nn.functional as F

from app.core.errors import InputError
from app.layers.connection import grouped_links
from app.layers.cost import Cost
from app.operators import ConvSpec
from app.operators.rolling import Rolling, RollingPointwise


def dense_weight(weight: torch.Tensor, channels: int, groups: int, overlap: float) -> torch.Tensor:
    """The same mix as one dense 1x1x1 weight, zero outside the windows: each begins a step after the last."""
    width = channels // groups
    step = width - int(overlap * width)
    index = (torch.arange(len(weight))[:, None] * step + torch.arange(width)) % channels
    return torch.zeros(len(weight), channels).scatter(1, index, weight.flatten(1))[..., None, None, None]


@pytest.mark.parametrize(
    ("channels", "out", "groups", "overlap"),
    [(32, 32, 4, 0.5), (16, 24, 2, 0.25), (12, 5, 3, 0.33), (8, 8, 1, 0.5), (8, 16, 4, 0.0)],
)
def test_it_is_a_masked_dense_mix(channels: int, out: int, groups: int, overlap: float) -> None:
    module = RollingPointwise(channels, out, groups=groups, overlap=overlap)
    x = torch.randn(2, channels, 2, 3, 4)
    wanted = F.conv3d(x, dense_weight(module.weight, channels, groups, overlap))
    torch.testing.assert_close(module(x), wanted, atol=1e-5, rtol=1e-5)
    assert module(x.contiguous(memory_format=torch.channels_last_3d)).stride(1) == 1


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.33, 0.5, 0.75])
@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_costs_are_those_of_a_grouped_pointwise_convolution(groups: int, overlap: float) -> None:
    conv = ConvSpec("encoder.1.0", 32, 64, (3, 3, 3), (1, 1, 1))
    params = 32 * 27 + 64 * 32 // groups
    assert Rolling(groups, overlap).cost(conv, (2, 3, 4)) == Cost(params, 24 * params)
    assert RollingPointwise(32, 64, groups=groups, overlap=overlap).weight.numel() == 64 * 32 // groups


def test_no_overlap_is_a_grouped_convolution_and_one_group_a_full_one() -> None:
    x = torch.randn(1, 8, 2, 2, 2)
    apart = RollingPointwise(8, 8, groups=4, overlap=0.0)
    order = torch.arange(8).reshape(2, 4).T.flatten()  # windows take turns; a grouped convolution's do not
    grouped = F.conv3d(x, apart.weight[order], groups=4)
    torch.testing.assert_close(apart(x)[:, order], grouped)
    full = RollingPointwise(8, 8, groups=1, overlap=0.0)
    torch.testing.assert_close(full(x), F.conv3d(x, full.weight))


@pytest.mark.parametrize(("overlap", "shared"), [(0.0, 0), (0.5, 4)])
def test_cyclic_windows_reach_every_channel_in_two_layers(overlap: float, shared: int) -> None:
    (connection,) = RollingPointwise(32, 32, groups=4, overlap=overlap).connections()
    links = connection.links
    assert (links[0] & links[1]).sum() == shared
    for count in (8, 32, 32, 32):
        assert set(links.sum(axis=1)) == {count}
        links = connection.links @ links


def test_a_grouped_convolution_never_does() -> None:
    links = grouped_links(32, 32, groups=4)
    assert set((links @ links @ links @ links).sum(axis=1)) == {8}


def test_impossible_settings_are_named() -> None:
    for groups, overlap, tokens in ((0, 0.5, ("op.groups", "0")), (2, 1.0, ("op.overlap", "1.0"))):
        with pytest.raises(InputError) as error:
            Rolling(groups, overlap)
        for token in tokens:
            assert token in str(error.value)
