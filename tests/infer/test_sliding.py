import pytest
import torch
from torch import nn

from app.core.errors import InputError
from app.core.plan import Normalisation, Plan
from app.core.types import Size
from app.infer.sliding import SlidingSettings, sliding_logits, window_size

PLAN = Plan(
    spacing=(1.0, 1.0, 1.0),
    patch=(8, 8, 8),
    batch=1,
    widths=(4, 8),
    strides=((1, 1, 1), (2, 2, 2)),
    kernels=((3, 3, 3), (3, 3, 3)),
    normalisation=(Normalisation("zscore"),),
)
PLAIN = SlidingSettings(overlap=0.5, windows=2, mirror_axes=())


class Brightness(nn.Module):
    """Voxel by voxel: any way of laying windows gives the same logits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, 2 * x + 1], dim=1)


class Slope(nn.Module):
    """Grows along D: its mirror average is constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.arange(x.shape[2], dtype=x.dtype)[None, None, :, None, None].expand(*x.shape) + 0 * x


@pytest.mark.parametrize("size", [(8, 8, 8), (5, 8, 3), (21, 9, 16), (30, 8, 11)])
def test_windows_join_without_seams(size: Size) -> None:
    image = torch.randn(1, *size)
    for settings in (PLAIN, SlidingSettings(overlap=0.25, windows=3, mirror_axes=(0, 2))):
        logits = sliding_logits(Brightness(), image, PLAN, settings)
        torch.testing.assert_close(logits, torch.cat([image, 2 * image + 1]), atol=1e-5, rtol=1e-5)


def test_mirroring_averages_over_all_combinations() -> None:
    flat = sliding_logits(Slope(), torch.zeros(1, 8, 8, 8), PLAN, SlidingSettings(0.5, 1, (0, 1, 2)))
    torch.testing.assert_close(flat, torch.full_like(flat, 3.5))


def test_an_axis_hardly_longer_than_the_patch_takes_one_window() -> None:
    assert window_size((10, 11, 30), PLAN) == (10, 8, 8)
    assert window_size((3, 8, 9), PLAN) == (8, 8, 10)


def test_impossible_settings_are_named() -> None:
    for values, message in (
        ((1.0, 1, ()), "overlap"),
        ((0.5, 0, ()), "windows"),
        ((0.5, 1, (4,)), "mirror_axes"),
    ):
        with pytest.raises(InputError, match=message):
            SlidingSettings(*values)
