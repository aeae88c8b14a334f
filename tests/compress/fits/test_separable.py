import math

import pytest
import torch

from app.compress.fits.method import chain_kernels
from app.compress.fits.separable import split_filters, suggested_kernels
from app.core.types import Size
from app.operators.vocabulary import vocabulary


@pytest.mark.parametrize("chain", ["2d1d", "1d"])
def test_a_separable_filter_is_reproduced(chain: str) -> None:
    torch.manual_seed(0)
    kernels = chain_kernels((3, 3, 3), chain)
    one = torch.ones(20, 1, 1, 1, dtype=torch.float64)
    filters = math.prod((torch.randn(20, *kernel, dtype=torch.float64) for kernel in kernels), start=one)
    parts = split_filters(filters, kernels)
    assert [tuple(part.shape[1:]) for part in parts] == list(kernels)
    torch.testing.assert_close(math.prod(parts, start=one), filters, rtol=0, atol=1e-13)


def test_two_factors_keep_the_leading_singular_value() -> None:
    filters = torch.randn(10, 3, 3, 3, dtype=torch.float64)
    values = torch.linalg.svdvals(filters.reshape(10, 3, 9)).square()
    kept = energy_kept(filters, "2d1d")
    torch.testing.assert_close(kept, values[:, 0] / values.sum(1))
    assert (energy_kept(filters, "1d") <= kept + 1e-9).all()


def energy_kept(filters: torch.Tensor, chain: str) -> torch.Tensor:
    parts = split_filters(filters, chain_kernels((3, 3, 3), chain))
    product = math.prod(parts, start=torch.ones(10, 1, 1, 1, dtype=torch.float64))
    return 1 - (filters - product).square().flatten(1).sum(1) / filters.square().flatten(1).sum(1)


@pytest.mark.parametrize("kernel", [(3, 1, 1), (1, 1, 3), (1, 3, 3), (3, 3, 1), (3, 3, 3)])
def test_a_filter_is_nearest_to_the_kernel_it_fills(kernel: Size) -> None:
    filters = torch.zeros(1, 3, 3, 3)
    filters[:, *(slice(None) if taps == 3 else slice(1, 2) for taps in kernel)] = 1
    known = [kernel.size for kernel in vocabulary("123d", "test")]
    assert suggested_kernels(filters, known, share=0.9) == [kernel]


def test_silent_filters_give_numbers() -> None:
    parts = split_filters(torch.zeros(2, 3, 3, 3), chain_kernels((3, 3, 3), "1d"))
    assert all(part.isfinite().all() for part in parts)


def test_axes_of_one_tap_take_no_part() -> None:
    assert chain_kernels((1, 3, 3), "1d") == ((1, 3, 1), (1, 1, 3))
    assert chain_kernels((1, 3, 3), "2d1d") == ((1, 3, 3),)
