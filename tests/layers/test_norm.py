"""Instance norm against torch's own in double precision and contiguous memory.

Contiguous, because the gradient of torch 2.13's own is wrong for one sample in channels-last.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.layers.norm import InstanceNorm3d, normalise

LAYOUTS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "channels-last": lambda x, count: x[:, :count].contiguous(memory_format=torch.channels_last_3d),
    "contiguous": lambda x, count: x[:, :count].contiguous(),
    "part of channels-last": lambda x, count: x.contiguous(memory_format=torch.channels_last_3d)[
        :, 2 : 2 + count
    ],
    "every other channel": lambda x, count: x[:, : 2 * count : 2],
    "turned": lambda x, count: x[:, :count].contiguous().permute(0, 1, 3, 4, 2),
    "samples inside": lambda x, count: (
        x[:, :count].permute(1, 2, 3, 4, 0).contiguous().permute(4, 0, 1, 2, 3)
    ),
}


@pytest.mark.parametrize("channels", [5, 16])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_and_gradients_are_those_of_torch(channels: int, batch: int, layout: str) -> None:
    torch.manual_seed(0)
    x, out = (LAYOUTS[layout](torch.randn(batch, 32, 4, 6, 3), channels) for _ in range(2))
    weight, bias = torch.randn(channels), torch.randn(channels)
    found = _values(normalise, x, weight, bias, out)
    wanted = _values(_torch_norm, *(part.double().contiguous() for part in (x, weight, bias, out)))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5, rtol=1e-5)
    assert found[0].is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("channels", [4, 16])
def test_a_mean_far_from_zero_costs_no_digits(channels: int) -> None:
    """Where torch's group norm in channels-last is off by 0.05."""
    torch.manual_seed(0)
    x = (5 + 0.1 * torch.randn(1, channels, 20, 20, 20)).contiguous(memory_format=torch.channels_last_3d)
    weight = torch.ones(channels)
    wanted = _torch_norm(x.double().contiguous(), weight.double(), torch.zeros(channels).double())
    torch.testing.assert_close(normalise(x, weight).double(), wanted, atol=1e-3, rtol=0)


def test_what_is_traced_is_a_plain_group_norm_of_the_same_values() -> None:
    """For exporters, which know no batch norm of single samples."""
    torch.manual_seed(0)
    norm, x = InstanceNorm3d(4), torch.randn(2, 4, 3, 5, 4)
    with torch.no_grad():
        exported = torch.export.export(norm, (x,))
        assert "group_norm" in str(exported.graph) and "batch_norm" not in str(exported.graph)
        torch.testing.assert_close(exported.module()(x), norm(x), atol=1e-5, rtol=1e-5)


def test_maps_in_half_precision_are_normalised_too() -> None:
    torch.manual_seed(0)
    norm, x = InstanceNorm3d(4), torch.randn(2, 4, 3, 5, 4).bfloat16().requires_grad_()
    found = norm(x)
    found.sum().backward()
    assert found.dtype == x.dtype and x.grad is not None
    torch.testing.assert_close(found.float(), norm(x.float()), atol=0.02, rtol=0.02)


def test_a_gate_needs_no_shift() -> None:
    torch.manual_seed(0)
    x, gate = torch.randn(2, 3, 4, 4, 4), torch.randn(3, requires_grad=True)
    normalise(x, gate).square().sum().backward()
    assert gate.grad is not None
    torch.testing.assert_close(gate.grad, 2 * gate.detach() * 2 * 64, atol=0.01, rtol=1e-3)


@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("channels", [3, 16])
def test_second_derivatives_are_those_of_the_formula(channels: int, shifted: bool) -> None:
    torch.manual_seed(0)
    parts = (torch.randn(2, channels, 1, 3, 2), torch.randn(channels), torch.randn(channels))
    parts = tuple(part.double().requires_grad_() for part in parts[: 2 + shifted])
    assert torch.autograd.gradgradcheck(normalise, parts)


def test_the_second_derivative_of_an_input_that_only_a_linear_loss_sees() -> None:
    x = torch.randn(1, 3, 2, 2, 2, requires_grad=True)
    y = normalise(x, torch.ones(3))
    (gradient,) = torch.autograd.grad(y[0, 0, 0, 0, 0], x, create_graph=True)
    found = torch.autograd.grad(gradient[0, 0, 1, 1, 1], x)[0]
    again = F.group_norm(x, 3)
    (wanted,) = torch.autograd.grad(again[0, 0, 0, 0, 0], x, create_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(wanted[0, 0, 1, 1, 1], x)[0])


@pytest.mark.parametrize("channels", [5, 16])
def test_no_sample_at_all_is_no_error(channels: int) -> None:
    norm, x = InstanceNorm3d(channels), torch.randn(0, channels, 3, 3, 3, requires_grad=True)
    y = norm(x)
    y.sum().backward()
    assert y.shape == x.shape and x.grad is not None and norm.weight.grad.abs().sum() == 0


def _torch_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(x, None, None, weight, bias)


def _values(norm, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> list[Tensor]:  # type: ignore[no-untyped-def]
    inputs = [part.detach().requires_grad_() for part in (x, weight, bias)]
    result = norm(*inputs)
    result.backward(out)
    return [result.detach(), *(part.grad for part in inputs)]


@pytest.mark.parametrize("channels", [5, 8, 16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_norm_that_overwrites_gives_the_same_values(channels: int, layout: str) -> None:
    torch.manual_seed(0)
    norm = InstanceNorm3d(channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = LAYOUTS[layout](torch.randn(3, 32, 4, 6, 3), channels)
    wanted = _torch_norm(x.double().contiguous(), norm.weight.double(), norm.bias.double())
    norm.overwrites = True
    with torch.no_grad():
        found = norm(x)
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-5)


def test_a_norm_overwrites_its_input_only_without_gradients() -> None:
    torch.manual_seed(0)
    norm = InstanceNorm3d(16)
    x = torch.randn(2, 16, 4, 6, 3).contiguous(memory_format=torch.channels_last_3d)
    norm.overwrites = True
    before = x.clone()
    norm(x)
    assert torch.equal(x, before)
    with torch.no_grad():
        found = norm(x)
    assert found.data_ptr() == x.data_ptr() and not torch.equal(x, before)
