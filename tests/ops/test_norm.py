"""Instance norm against torch's own in double precision and contiguous memory.

Contiguous, because the gradient of torch 2.13's own is wrong for one sample in channels-last.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from app.ops.norm import InstanceNorm3d, normalise


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layout", [torch.channels_last_3d, torch.contiguous_format])
def test_values_and_gradients_are_those_of_torch(batch: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x, out = (torch.randn(batch, 5, 4, 6, 3).contiguous(memory_format=layout) for _ in range(2))
    weight, bias = torch.randn(5), torch.randn(5)
    found = _values(normalise, x, weight, bias, out)
    wanted = _values(_torch_norm, *(part.double().contiguous() for part in (x, weight, bias, out)))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5, rtol=1e-5)
    assert found[0].is_contiguous(memory_format=layout)


def test_without_gradients_the_values_are_the_same() -> None:
    torch.manual_seed(0)
    norm, x = InstanceNorm3d(4), torch.randn(2, 4, 3, 5, 4)
    with torch.no_grad():
        plain = norm(x)
    torch.testing.assert_close(norm(x), plain, atol=1e-5, rtol=1e-5)


def test_a_gate_needs_no_shift() -> None:
    torch.manual_seed(0)
    x, gate = torch.randn(2, 3, 4, 4, 4), torch.randn(3, requires_grad=True)
    normalise(x, gate).square().sum().backward()
    assert gate.grad is not None
    torch.testing.assert_close(gate.grad, 2 * gate.detach() * 2 * 64, atol=0.01, rtol=1e-3)


def _torch_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(x, None, None, weight, bias)


def _values(norm, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> list[Tensor]:  # type: ignore[no-untyped-def]
    inputs = [part.clone().requires_grad_() for part in (x, weight, bias)]
    result = norm(*inputs)
    result.backward(out)
    return [result.detach(), *(part.grad for part in inputs)]
