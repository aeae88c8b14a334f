"""Channel attention: its kernel, its gate, and half precision."""

import pytest
import torch
import torch.nn.functional as F

from app.core.errors import InputError
from app.layers.eca import PUBLISHED, Eca, EcaSettings


@pytest.mark.parametrize(("channels", "taps"), [(4, 1), (16, 3), (64, 3), (300, 5)])
def test_adds_exactly_the_kernel_s_parameters(channels: int, taps: int) -> None:
    assert sum(p.numel() for p in Eca(channels).parameters()) == taps


def test_kernel_by_channels() -> None:
    """`math.log(8, 2)` is below 3 on some machines, and the kernel of 8 channels then 1."""
    table = {1: 1, 2: 1, 3: 1, 4: 1, 7: 1, 8: 3, 16: 3, 32: 3, 64: 3, 127: 3, 128: 5, 256: 5, 512: 5}
    table |= {1024: 5, 2047: 5, 2048: 7}
    assert {channels: PUBLISHED.taps(channels) for channels in table} == table


def test_weight_zero_halves_exactly() -> None:
    module, x = Eca(16), torch.randn(2, 16, 3, 4, 5)
    torch.nn.init.zeros_(module.conv.weight)
    assert torch.equal(module(x, x), 0.5 * x)


def test_a_gate_depends_on_near_channels_only() -> None:
    module, source = Eca(16), torch.rand(1, 16, 2, 2, 2, requires_grad=True)
    gate = module(torch.ones(1, 16, 1, 1, 1), source)[0, 8]
    (gradient,) = torch.autograd.grad(gate.sum(), source)
    assert gradient.abs().sum((0, 2, 3, 4)).nonzero().flatten().tolist() == [7, 8, 9]


@pytest.mark.parametrize(("kernel", "commutes"), [(1, True), (3, False)])
def test_permuting_channels_commutes_for_one_tap_only(kernel: int, commutes: bool) -> None:
    torch.manual_seed(0)
    module, x, order = Eca(16, kernel), torch.rand(1, 16, 2, 2, 2), torch.randperm(16)
    assert torch.allclose(module(x, x)[:, order], module(x[:, order], x[:, order])) == commutes


def test_the_gate_ignores_the_order_of_voxels() -> None:
    module, x = Eca(8), torch.rand(1, 8, 2, 3, 4)
    shuffled = x.flatten(2)[..., torch.randperm(24)].unflatten(2, (2, 3, 4))
    torch.testing.assert_close(
        (module(x, x) / x)[..., 0, 0, 0], (module(shuffled, shuffled) / shuffled)[..., 0, 0, 0]
    )


@pytest.mark.parametrize("shape", [(2, 16, 3, 4, 5), (1, 16, 1, 1, 1), (1, 1, 2, 2, 2), (3, 130, 1, 2, 1)])
def test_equals_a_convolution_along_the_channels(shape: tuple[int, ...]) -> None:
    module, x = Eca(shape[1]), torch.randn(shape)
    weight = module.conv.weight
    gate = F.conv1d(x.mean((2, 3, 4)).unsqueeze(1), weight, padding=weight.shape[-1] // 2).sigmoid()
    torch.testing.assert_close(module(x, x), x * gate.reshape(*shape[:2], 1, 1, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near(dtype: torch.dtype) -> None:
    x, module = 100 * torch.randn(1, 16, 8, 8, 8), Eca(16)
    wanted = module(x, x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module(x, x), wanted, rtol=0.02, atol=0.02)
    halved = module.to(dtype)(x.to(dtype), x.to(dtype))
    assert halved.isfinite().all()
    torch.testing.assert_close(halved.float(), wanted, rtol=0.05, atol=0.05)


def test_moments_are_means_and_deviations_with_weights_of_their_own() -> None:
    torch.manual_seed(0)
    module = Eca(16, settings=EcaSettings(squeeze="moments"))
    assert module.conv.weight.shape == (1, 2, 3)
    x, source = torch.randn(2, 16, 3, 4, 5), 3 + 2 * torch.randn(2, 16, 4, 2, 3)
    spread, mean = torch.var_mean(source, (2, 3, 4), correction=0)
    seen = torch.stack([mean, (spread + 1e-5).sqrt().log()], dim=1)
    gate = F.conv1d(seen, module.conv.weight, padding=1).sigmoid().reshape(2, 16, 1, 1, 1)
    torch.testing.assert_close(module(x, source), x * gate)


def test_settings_of_public_code() -> None:
    """The formula's two numbers, the least kernel of timm, and its circular form."""
    assert EcaSettings(least=3).taps(4) == 3 and EcaSettings(gamma=1).taps(64) == 7
    assert EcaSettings(b=5).taps(64) == 5
    module = Eca(8, settings=EcaSettings(circular=True))
    x = torch.randn(1, 8, 2, 2, 2)
    means = x.mean((2, 3, 4))
    gate = F.conv1d(F.pad(means[:, None], (1, 1), mode="circular"), module.conv.weight).sigmoid()
    torch.testing.assert_close(module(x, x), x * gate.reshape(1, 8, 1, 1, 1))


def test_impossible_settings_are_named() -> None:
    for values, tokens in (
        ({"kernel": 4}, ("op.eca", "4")),
        ({"kernel": [3, 2]}, ("op.eca", "2")),
        ({"kernel": [3, None], "least": 2}, ("op.eca", "2")),
        ({"gamma": 0}, ("op.eca.gamma", "0")),
        ({"squeeze": "max"}, ("op.eca.squeeze", "max", "moments")),
    ):
        with pytest.raises(InputError) as error:
            EcaSettings(**values)
        for token in tokens:
            assert token in str(error.value)
