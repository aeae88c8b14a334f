import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers.inferer import SlidingWindowInferer
from torch import nn

from app.core.errors import InputError
from app.core.plan import Normalisation
from app.core.types import Size
from app.infer.engines.eager import EagerEngine
from app.infer.window.average import Average
from app.infer.window.confidence import Agreement
from app.infer.window.decode import most_probable_labels
from app.infer.window.empty import is_air
from app.infer.window.sliding import SlidingSettings, fit_windows, sliding_logits, stream_logits
from app.infer.window.windows import lay_windows
from tests.support.config import CUBES
from tests.support.networks import Slope, mixing_network

PLAIN = SlidingSettings(overlap=0.5, windows=2, mirror_axes=())
SIZES = st.tuples(*[st.integers(3, 30)] * 3)


class Brightness(nn.Module):
    """Voxel by voxel: any way of laying windows gives the same logits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, 2 * x + 1], dim=1)


@pytest.mark.parametrize("size", [(8, 8, 8), (5, 8, 3), (21, 9, 16), (30, 8, 11)])
def test_windows_join_without_seams(size: Size) -> None:
    image = torch.randn(1, *size)
    for settings_ in (PLAIN, SlidingSettings(overlap=0.25, windows=3, mirror_axes=(0, 2))):
        logits = sliding_logits(Brightness(), image, CUBES, settings_)
        torch.testing.assert_close(logits, torch.cat([image, 2 * image + 1]), atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(size=SIZES, overlap=st.sampled_from([0.0, 0.25, 0.5, 0.7]), at_once=st.integers(1, 3))
def test_streaming_equals_monai_holding_everything(size: Size, overlap: float, at_once: int) -> None:
    network, image = mixing_network(), torch.randn(1, *size, generator=torch.Generator().manual_seed(1))
    laid = SlidingSettings(overlap, at_once, ())
    plain = SlidingWindowInferer(
        fit_windows(size, [CUBES], laid).size, 1, overlap, mode="gaussian", sigma_scale=0.125
    )
    with torch.inference_mode():
        expected = plain(image[None], network)[0]
    ours = sliding_logits(network, image, CUBES, laid)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    assert (most_probable_labels(ours) != expected.argmax(0)).float().mean() <= 1e-5


def test_windows_are_blended_by_a_gaussian_of_an_eighth_of_their_size() -> None:
    """Voxels 1.5 and .5 from the centre of 4 weigh exp(-4.5) and exp(-.5), where the deviation is .5."""
    windows = lay_windows((6, 1, 1), (4, 1, 1), 0.5)
    far, near = math.exp(-4.5), math.exp(-0.5)
    torch.testing.assert_close(windows.weights().flatten(), torch.tensor([far, near, near, far]))
    answers = iter([0.0, 1.0])  # of the windows at 0 and 2
    average = Average([lambda _window: torch.full((1, 1, 4, 1, 1), next(answers))])
    found = torch.cat([s.clone() for s in stream_logits(average, torch.zeros(1, 6, 1, 1), windows)], dim=1)
    between = [far / (near + far), near / (near + far)]
    torch.testing.assert_close(found.flatten(), torch.tensor([0.0, 0.0, *between, 1.0, 1.0]))
    cube = lay_windows((8, 8, 8), (8, 8, 8), 0.5).weights()
    assert float(cube.min()) == pytest.approx(1e-3)  # not exp(-18) in the corners
    assert float(cube.max()) == pytest.approx(math.exp(-3 / 8))  # half a voxel from the centre


@pytest.mark.parametrize("rows", [range(0, 3), range(5, 17), range(11, 29)])
def test_a_part_of_the_rows_is_that_part_of_the_whole(rows: range) -> None:
    engine = Average([EagerEngine(mixing_network())], mirror_axes=(0, 1), alternate=True)
    image = torch.randn(1, 13, 29, 9)
    windows = lay_windows((13, 29, 9), (8, 8, 8), 0.5, at_once=2)
    whole, part = (
        torch.cat([s.clone() for s in stream_logits(engine, image, windows, rows=which)], dim=1)
        for which in (None, rows)
    )
    torch.testing.assert_close(part, whole[:, :, rows.start : rows.stop], atol=1e-5, rtol=1e-5)


def test_slices_come_as_soon_as_no_later_window_covers_them() -> None:
    windows = lay_windows((20, 8, 8), (8, 8, 8), 0.5)
    slices = stream_logits(Average([EagerEngine(Brightness())]), torch.zeros(1, 20, 8, 8), windows)
    assert windows.starts[0] == (0, 4, 8, 12)
    assert [finished.shape[1] for finished in slices] == [4, 4, 4, 8]


def test_mirroring_averages_over_all_combinations() -> None:
    flat = sliding_logits(Slope(), torch.zeros(1, 8, 8, 8), CUBES, SlidingSettings(0.5, 1, (0, 1, 2)))
    torch.testing.assert_close(flat, torch.full_like(flat, 3.5))


def test_overlapping_windows_see_mirror_images_in_turn() -> None:
    settings_ = SlidingSettings(0.5, 1, (0,), alternate=True)
    slope = torch.arange(8.0)
    logits = sliding_logits(Slope(), torch.zeros(1, 8, 8, 12), CUBES, settings_)[0, :, 0]
    torch.testing.assert_close(logits[:, 0], slope)  # seen by the first window, as it is
    torch.testing.assert_close(logits[:, 11], slope.flip(0))  # by the second, mirrored
    torch.testing.assert_close(logits[:, 5] + logits[:, 6], torch.full((8,), 7.0))  # by both
    single = sliding_logits(Slope(), torch.zeros(1, 8, 8, 8), CUBES, settings_)
    torch.testing.assert_close(single, torch.full_like(single, 3.5))


def test_every_voxel_between_windows_is_seen_in_both_images() -> None:
    windows = lay_windows((20, 24, 28), (8, 8, 8), 0.5)
    for layer, row, column in product(*(range(len(starts) - 1) for starts in windows.starts)):
        around = product((layer, layer + 1), (row, row + 1), (column, column + 1))
        phases = [windows.phase(i, windows.starts[1][j], windows.starts[2][k]) % 2 for i, j, k in around]
        assert sum(phases) == 4


def test_windows_are_compared_with_those_before_them() -> None:
    answers = iter([0, 0, 1])

    def engine(windows: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(1, 2, *windows.shape[2:])
        logits[:, next(answers)] = 1
        return logits

    agreement = Agreement(2)
    laid = lay_windows((8, 8, 16), (8, 8, 8), 0.5)
    list(stream_logits(Average([engine], agreement=agreement), torch.zeros(1, 8, 8, 16), laid))
    assert agreement.dice() == [2 / 3, 0.0]  # of 2 overlaps: both said 0, then 1 was said against 0


def test_windows_without_tissue_do_not_run_and_are_background() -> None:
    image = torch.zeros(1, 24, 8, 8)
    image[:, 16:] = torch.randn(1, 8, 8, 8)
    ran: list[float] = []

    def engine(windows: torch.Tensor) -> torch.Tensor:
        ran.extend(float(window.std()) for window in windows)
        return torch.cat([windows * 0, windows * 0 + 1], dim=1)

    laid = lay_windows((24, 8, 8), (8, 8, 8), 0.5)
    skip = lambda window: is_air(window, CUBES.normalisation)  # noqa: E731
    logits = torch.cat([s.clone() for s in stream_logits(Average([engine]), image, laid, skip=skip)], dim=1)
    assert len(ran) == 3 and ran[0] == 0  # the first always runs; then those at 12 and 16
    labels = most_probable_labels(logits)[:, 0, 0]
    assert labels.tolist() == [1] * 8 + [0] * 4 + [1] * 12


def test_air_on_ct_is_what_lies_at_the_clip_bound() -> None:
    ct = Normalisation("ct", low=-100, high=200, mean=50, std=100)
    pet = Normalisation("zscore")
    window = torch.stack([torch.full((4, 4, 4), -1.5), torch.randn(4, 4, 4)])
    assert is_air(window, [ct, pet]) and not is_air(window, [pet, pet])
    window[0, 0, 0, 0] = -1.4
    assert not is_air(window, [ct, pet])


@pytest.mark.parametrize(
    ("volume", "overlap", "size", "at_once"),
    [
        ((3, 8, 8), 0.5, (8, 8, 8), 2),
        ((10, 8, 8), 0.5, (10, 8, 8), 1),  # 10 voxels computed, not 2 times 8
        ((11, 8, 8), 0.5, (8, 8, 8), 2),  # 12 were too long
        ((20, 8, 8), 0.5, (10, 8, 8), 1),  # 3 windows of 10 for 4 of 8
        ((40, 10, 8), 0.5, (10, 10, 8), 1),  # 7 windows of 10 for 9 of 8
        ((16, 8, 8), 0.0, (8, 8, 8), 2),
    ],
)
def test_windows_are_as_long_as_computes_fewest_voxels(
    volume: Size, overlap: float, size: Size, at_once: int
) -> None:
    windows = fit_windows(volume, [CUBES], SlidingSettings(overlap, 2, ()))
    assert (windows.size, windows.at_once) == (size, at_once)


def test_impossible_settings_are_named() -> None:
    for values, message in (
        ((1.0, 1, ()), "overlap"),
        ((0.5, 0, ()), "windows"),
        ((0.5, 1, (4,)), "mirror_axes"),
        ((0.5, 1, (), False, 1.5), "certain"),
    ):
        with pytest.raises(InputError, match=message):
            SlidingSettings(*values)


def test_networks_made_for_one_size_see_windows_of_the_patch_alone() -> None:
    free = SlidingSettings(0.5, 2, ())
    assert fit_windows((10, 10, 10), [CUBES], free).size == (10, 10, 10)
    assert free.suited(fits_other_sizes=True) == free
    assert fit_windows((10, 10, 10), [CUBES], free.suited(fits_other_sizes=False)).size == CUBES.patch
