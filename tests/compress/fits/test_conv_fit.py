import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from app.compress.fits.conv_fit import UNKNOWN, ConvTask, following
from app.compress.fits.depthwise import by_channel
from app.compress.fits.samples import Rows, taps
from app.compress.methods import method_of
from app.core.types import Size, as_size
from app.models.blocks import PlainBlock, ResidualBlock
from app.operators import ConvSpec
from app.operators.plain import Conv3d
from tests.support.config import COMPRESS

CONV = ConvSpec("encoder.0.1", 4, 4, (3, 3, 3), (1, 1, 1))


def task_of(conv: nn.Conv3d, x: torch.Tensor, block: nn.Module | None = None) -> ConvTask:
    """Every place of `x` a row."""
    y = conv(x).detach()
    grid = torch.meshgrid(*(torch.arange(n) for n in (len(x), *y.shape[2:])), indexing="ij")
    places = torch.stack([axis.flatten() for axis in grid], dim=1)
    after = UNKNOWN if block is None else following(block, "0")
    return ConvTask(conv, Rows(taps(x, conv, places), y.movedim(1, -1).flatten(0, 3)), after)


@pytest.mark.parametrize(("method", "rank"), [("dwd", 1), ("channel", 2), ("spatial", 2)])
def test_the_mean_response_stays_where_there_is_a_bias(method: str, rank: int) -> None:
    """Inputs far from zero: without a bias of its own a low rank would shift every channel."""
    torch.manual_seed(0)
    conv, x = nn.Conv3d(4, 6, 3, padding=1), 3 + torch.randn(2, 4, 5, 6, 7)
    made = method_of(method, COMPRESS)
    factors = made.factors(CONV, rank)
    wanted, got = conv(x), made.fit(task_of(conv, x), factors)(x)
    assert (wanted - got).norm() > 0.05 * wanted.norm()
    torch.testing.assert_close(got.mean((0, 2, 3, 4)), wanted.mean((0, 2, 3, 4)), rtol=1e-3, atol=1e-3)


def test_channels_count_as_the_norm_makes_them() -> None:
    """A gain of 2 over a spread of 3, and a spread that the norm's eps outweighs."""
    block = PlainBlock([CONV], Conv3d())
    block[1].weight.data = torch.tensor([2.0, 1.0, 0.0, 1.0])
    outputs = torch.randn(500, 4, dtype=torch.float64)
    outputs = (outputs - outputs.mean(0)) / outputs.std(0) * torch.tensor([3.0, 1.0, 1.0, 1e-9])
    task = ConvTask(block[0], Rows(torch.zeros(4, 500, 27), outputs), following(block, "0"))
    wanted = torch.tensor([2 / 3, 1.0, 1e-5**-0.5 * 1e-6, 1e-5**-0.5], dtype=torch.float64)
    torch.testing.assert_close(task.scale, wanted, rtol=1e-4, atol=0)
    assert task.following.slope == 0.01


@pytest.mark.parametrize("method", ["dwd", "channel"])
def test_a_channel_that_the_norm_shuts_off_gives_numbers(method: str) -> None:
    torch.manual_seed(0)
    block = PlainBlock([CONV], Conv3d())
    block[1].weight.data[1] = 0
    made = method_of(method, COMPRESS)
    fitted = made.fit(task_of(block[0], torch.randn(2, 4, 5, 6, 7), block), made.factors(CONV, 2))
    assert all(weight.isfinite().all() for weight in fitted.parameters())


@pytest.mark.parametrize("method", ["dwd", "channel"])
def test_a_function_written_with_the_opposite_signs_is_fitted_as_well(method: str) -> None:
    """Weights and gains of two channels turned: the block answers the same, so does what is fitted to it."""
    torch.manual_seed(0)
    x, made = torch.randn(2, 4, 5, 6, 7), method_of(method, replace(COMPRESS, fit="activation"))
    block = PlainBlock([CONV], Conv3d())
    block[1].bias.data.uniform_(-1, 1)
    turned = copy.deepcopy(block)
    for part in (turned[0], turned[1]):
        part.weight.data[:2] *= -1
    answers = []
    for one in (block, turned):
        fitted = copy.deepcopy(one)
        fitted[0] = made.fit(task_of(one[0], x, one), made.factors(CONV, 1))
        answers.append(fitted(x))
    torch.testing.assert_close(turned(x), block(x))
    torch.testing.assert_close(answers[1], answers[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 1, 1)])
def test_spatial_factors_of_a_flat_kernel_are_exact_at_full_rank(kernel: Size) -> None:
    torch.manual_seed(0)
    padding = as_size([taps // 2 for taps in kernel])
    conv, x = nn.Conv3d(4, 6, kernel, stride=(1, 2, 2), padding=padding), torch.randn(2, 4, 5, 6, 7)
    task, made = task_of(conv, x), method_of("spatial", COMPRESS)
    factors = made.factors(replace(CONV, kernel=kernel), len(made.energies(task)))
    assert factors.kernels == ((kernel[0], 1, 1), (1, *kernel[1:]))
    torch.testing.assert_close(made.fit(task, factors)(x), conv(x), atol=1e-5, rtol=1e-5)


def test_the_second_of_a_residual_pair_has_a_norm_and_no_activation() -> None:
    block = ResidualBlock([CONV, CONV], Conv3d())
    assert following(block, "first.0").slope == 0.01
    after = following(block, "second.0")
    assert after.slope is None and after.gain is not None and after.eps == 1e-5
    assert following(nn.Sequential(block.second[0]), "0") == UNKNOWN


def test_weights_are_by_channel() -> None:
    conv = nn.Conv3d(2, 3, 3)
    assert torch.equal(by_channel(conv.weight)[1, 2], conv.weight[2, 1].double().flatten())
