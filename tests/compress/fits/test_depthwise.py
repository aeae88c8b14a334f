"""Depth-wise decomposition: exact at full rank, steps that never raise the error, and costs by formula."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from app.compress.fits.depthwise import (
    DepthwiseFactors,
    by_channel,
    compensated,
    from_responses,
    from_weights,
    refitted_mix,
    root_of,
)
from app.compress.fits.replace import chained
from app.compress.fits.samples import taps
from app.operators.decomposed import Factors


def layer(seed: int, *, channels: int = 5, out: int = 7, rows: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (channel, out, tap), correlated inputs (channel, row, tap) and their response (row, out)."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(channels, out, 27, generator=generator, dtype=torch.float64)
    shared = torch.randn(rows, 27, generator=generator, dtype=torch.float64)
    own = torch.randn(channels, rows, 27, generator=generator, dtype=torch.float64)
    inputs = shared + 0.5 * own @ torch.randn(27, 27, generator=generator, dtype=torch.float64)
    return weights, inputs, (inputs @ weights.transpose(1, 2)).sum(0)


def error(factors: DepthwiseFactors, inputs: Tensor, target: Tensor) -> float:
    return float((target - factors.responses(inputs).sum(0)).norm())


def decomposed(conv: nn.Conv3d, rank: int) -> nn.Sequential:
    found = from_weights(by_channel(conv.weight), rank)
    factors = Factors("depthwise", rank, ((3, 3, 3),))
    return chained(conv, factors, [found.filters.flatten(0, 1), found.mix.flatten(0, 1).T], conv.bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_full_rank_is_exact(
    dtype: torch.dtype, tolerance: float, stride: int, dilation: int, bias: bool
) -> None:
    torch.manual_seed(0)
    for out, rank in ((8, 8), (32, 27)):
        conv = nn.Conv3d(3, out, 3, stride, dilation, dilation, bias=bias, dtype=dtype)
        x = torch.randn(2, 3, 7, 8, 6, dtype=dtype)
        wanted, got = conv(x), decomposed(conv, rank)(x)
        assert (wanted - got).norm() <= tolerance * wanted.norm()
        assert (wanted - decomposed(conv, 1)(x)).norm() > 0.1 * wanted.norm()


def test_the_error_of_the_weights_is_the_tail_of_the_singular_values() -> None:
    weights, _, _ = layer(0)
    values = torch.linalg.svdvals(weights)
    errors = []
    for rank in range(1, 8):
        lost = (weights - from_weights(weights, rank).weights()).square().sum()
        torch.testing.assert_close(lost, values[:, rank:].square().sum(), rtol=1e-10, atol=1e-20)
        errors.append(float(lost))
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_the_response_of_each_channel_is_nearer_by_data(seed: int, rank: int) -> None:
    weights, inputs, _ = layer(seed)
    wanted = inputs @ weights.transpose(1, 2)
    by_data = from_responses(weights, root_of(inputs), rank).responses(inputs)
    by_weights = from_weights(weights, rank).responses(inputs)
    errors = [(wanted - response).flatten(1).norm(dim=1) for response in (by_data, by_weights)]
    assert (errors[0] <= errors[1] * (1 + 1e-9)).all()


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_sweeps_never_raise_the_error(seed: int, rank: int) -> None:
    weights, inputs, target = layer(seed)
    current = from_weights(weights, rank)
    errors = [error(current, inputs, target)]
    for _ in range(4):
        current = compensated(current, inputs, target, sweeps=1)
        errors.append(error(current, inputs, target))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.95 * errors[0]


@pytest.mark.parametrize("rank", [1, 3])
def test_a_step_is_the_least_that_its_channel_can_do(rank: int) -> None:
    """The channel visited last, against a least-squares fit to what the others leave, cut to its rank."""
    weights, inputs, target = layer(3)
    found = compensated(from_weights(weights, rank), inputs, target, sweeps=1)
    parts = found.responses(inputs)
    left = target - parts[:-1].sum(0)
    fitted = inputs[-1] @ torch.linalg.lstsq(inputs[-1], left).solution
    u, values, right = torch.linalg.svd(fitted, full_matrices=False)
    torch.testing.assert_close(parts[-1], (u * values)[:, :rank] @ right[:rank], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_refitting_the_mix_never_raises_the_error(seed: int) -> None:
    weights, inputs, target = layer(seed)
    start = from_weights(weights, 2)
    refitted = refitted_mix(start, inputs, target)
    assert error(refitted, inputs, target) <= error(start, inputs, target)
    assert torch.equal(refitted.filters, start.filters)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_costs_by_formula(rank: int) -> None:
    conv = nn.Conv3d(4, 6, 3, 2, 1, bias=True)
    module = decomposed(conv, rank)
    with FlopCounterMode(display=False) as counter:
        y = module(torch.randn(1, 4, 7, 8, 6))
    weights = rank * 4 * (27 + 6)
    assert sum(p.numel() for p in module.parameters()) == weights + 6
    assert counter.get_total_flops() // 2 == weights * math.prod(y.shape[2:])


def test_white_inputs_make_data_and_weights_agree() -> None:
    weights, inputs, _ = layer(0)
    white = 3 * torch.linalg.qr(inputs).Q
    by_data = from_responses(weights, root_of(white), 2).weights()
    torch.testing.assert_close(by_data, from_weights(weights, 2).weights(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_sweeps_on_changed_inputs_never_raise_the_error_to_the_original(seed: int) -> None:
    weights, inputs, target = layer(seed)
    noise = torch.Generator().manual_seed(seed)
    changed = inputs + 0.3 * torch.randn(inputs.shape, generator=noise, dtype=torch.float64)
    current = compensated(from_weights(weights, 2), inputs, target, sweeps=2)
    errors = [error(current, changed, target)]
    for _ in range(3):
        current = compensated(current, changed, target, sweeps=1)
        errors.append(error(current, changed, target))
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0]


def test_a_separable_convolution_is_found_again() -> None:
    generator = torch.Generator().manual_seed(0)
    filters = torch.randn(5, 1, 27, generator=generator, dtype=torch.float64)
    mix = torch.randn(5, 1, 7, generator=generator, dtype=torch.float64)
    built = DepthwiseFactors(filters, mix).weights()
    found = from_weights(built, 1)
    torch.testing.assert_close(found.weights(), built, rtol=1e-12, atol=1e-12)
    cosines = F.cosine_similarity(found.filters[:, 0], filters[:, 0]).abs()
    torch.testing.assert_close(cosines, torch.ones(5, dtype=torch.float64))


def test_a_silent_channel_gives_numbers() -> None:
    weights, inputs, _ = layer(0)
    weights[1], inputs[2] = 0, 0
    target = (inputs @ weights.transpose(1, 2)).sum(0)
    for start in (from_weights(weights, 2), from_responses(weights, root_of(inputs), 2)):
        found = refitted_mix(compensated(start, inputs, target, sweeps=2), inputs, target)
        assert found.weights().isfinite().all() and error(found, inputs, target) < float(target.norm())


@pytest.mark.parametrize(("stride", "dilation", "padding"), [(1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 1, 0)])
def test_rows_are_what_the_convolution_sees(stride: int, dilation: int, padding: int) -> None:
    """Borders included: rows times weights are the outputs at the same places."""
    conv = nn.Conv3d(3, 4, 3, stride, padding, dilation, bias=False, dtype=torch.float64)
    x = torch.randn(2, 3, 6, 7, 8, dtype=torch.float64)
    y = conv(x)
    grid = torch.meshgrid(*(torch.arange(n) for n in (2, *y.shape[2:])), indexing="ij")
    places = torch.stack([axis.flatten() for axis in grid], dim=1)
    rows = taps(x, conv, places)
    response = (rows @ by_channel(conv.weight).transpose(1, 2)).sum(0)
    torch.testing.assert_close(response, y.movedim(1, -1).flatten(0, 3))


@pytest.mark.parametrize("rows", [3, 20, 26, 27])
def test_fewer_rows_than_taps_are_fitted_as_far_as_they_go(rows: int) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(4, rows, 27, dtype=torch.float64)
    weights = torch.randn(4, 6, 27, dtype=torch.float64)
    target = (inputs @ weights.transpose(1, 2)).sum(0)
    start = from_responses(weights, root_of(inputs), 1)
    found = compensated(start, inputs, target, sweeps=2)
    errors = [float((target - one.responses(inputs).sum(0)).norm()) for one in (start, found)]
    assert found.filters.isfinite().all() and errors[1] <= errors[0]
