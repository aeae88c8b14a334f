"""Halves written into one buffer are what joining and activating gave before, and so are their gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from app.layers.beside import beside

LEAKY = nn.LeakyReLU(0.01, inplace=True)
LAST, FIRST = torch.channels_last_3d, torch.contiguous_format


def both(
    channels: tuple[int, int], layout: torch.memory_format, **kind: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    wide = torch.randn(2, 2 * channels[0], 3, 4, 5, **kind).contiguous(memory_format=layout)
    second = torch.randn(2, channels[1], 3, 4, 5, **kind).contiguous(memory_format=layout)
    return wide.requires_grad_(), second.requires_grad_()


@pytest.mark.parametrize("layout", [LAST, FIRST], ids=str)
@pytest.mark.parametrize("channels", [(16, 16), (32, 17), (8, 8), (3, 20)], ids=str)
def test_values_and_gradients_are_those_of_joining_first(
    channels: tuple[int, int], layout: torch.memory_format
) -> None:
    wide, second = both(channels, layout)
    made = beside(wide[:, : channels[0]], second, LEAKY)
    wanted = F.leaky_relu(torch.cat([wide[:, : channels[0]], second], dim=1), 0.01)
    assert torch.equal(made, wanted) and made.is_contiguous(memory_format=layout)
    weights = torch.randn_like(made)
    found = torch.autograd.grad((made * weights).sum(), (wide, second))
    expected = torch.autograd.grad((wanted * weights).sum(), (wide, second))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("channels", "layout", "joined"), [((16, 16), LAST, 0), ((8, 8), FIRST, 0), ((8, 24), LAST, 1)], ids=str
)
def test_nothing_is_joined_where_halves_fill_vectors(
    channels: tuple[int, int], layout: torch.memory_format, joined: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, real = [], torch.cat
    monkeypatch.setattr(torch, "cat", lambda *a, **k: (calls.append(a), real(*a, **k))[1])
    wide, second = both(channels, layout)
    beside(wide[:, : channels[0]], second, LEAKY)
    assert len(calls) == joined


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.GELU(), nn.PReLU(32)], ids=str)
def test_other_activations_are_as_they_were(activation: nn.Module) -> None:
    wide, second = both((16, 16), LAST)
    made = beside(wide[:, :16], second, activation)
    torch.testing.assert_close(made, activation(torch.cat([wide[:, :16], second], dim=1)))


def test_second_derivatives_are_right() -> None:
    wide, second = both((16, 16), LAST, dtype=torch.float64)
    one = tuple(part[:1, :, :1, :1, :2].detach().requires_grad_() for part in (wide, second))
    function = lambda a, b: beside(a[:, :16], b, LEAKY).pow(3)  # noqa: E731
    assert torch.autograd.gradcheck(function, one) and torch.autograd.gradgradcheck(function, one)


def test_nothing_but_the_buffer_is_kept_for_gradients() -> None:
    wide, second = both((16, 16), LAST)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t), t)[1], lambda t: t):
        made = beside(wide[:, :16], second, LEAKY)
    assert {tensor.untyped_storage().data_ptr() for tensor in kept} == {made.untyped_storage().data_ptr()}
