import pytest
import torch
from torch import Tensor

from app.infer.engines.eager import EagerEngine
from app.infer.window.average import Average, mirrors
from app.infer.window.confidence import Agreement, SoftDice
from tests.support.networks import Slope, mixing_network


def test_mirrors_are_all_subsets_of_the_axes() -> None:
    assert mirrors((0, 2)) == [(), (2,), (4,), (2, 4)]


def test_members_and_mirrors_are_averaged() -> None:
    windows = torch.zeros(2, 1, 4, 4, 4)
    double = lambda x: 2 * Slope()(x)  # noqa: E731
    mean = Average([EagerEngine(Slope()), double])(windows)
    torch.testing.assert_close(mean, 1.5 * Slope()(windows))
    torch.testing.assert_close(Average([double], mirror_axes=(0,))(windows), torch.full_like(windows, 3.0))


def test_windows_that_are_certain_take_no_mirror_images() -> None:
    seen: list[int] = []

    def engine(windows: torch.Tensor) -> torch.Tensor:
        seen.append(len(windows))
        return torch.cat([windows, torch.zeros_like(windows)], dim=1)

    windows = torch.stack([torch.full((1, 2, 2, 2), 9.0), torch.full((1, 2, 2, 2), 0.5)])
    mean = Average([engine], mirror_axes=(0, 1), certain=0.95)(windows)
    assert seen == [2, 1, 1, 1]
    torch.testing.assert_close(mean[:, :1], windows)


def test_early_exit_leaves_uncertain_windows_as_the_full_mean_has_them() -> None:
    network, windows = EagerEngine(mixing_network()), torch.randn(3, 1, 6, 6, 6)
    full = Average([network], mirror_axes=(0, 1, 2))(windows)
    torch.testing.assert_close(Average([network], mirror_axes=(0, 1, 2), certain=0.99999)(windows), full)


def test_alternating_windows_see_the_image_of_their_turn_alone() -> None:
    seen: list[torch.Tensor] = []

    def engine(windows: torch.Tensor) -> torch.Tensor:
        seen.append(windows)
        return windows

    windows = torch.randn(1, 1, 3, 3, 3)
    average = Average([engine], mirror_axes=(0, 2), alternate=True)
    assert average.phases == 4 and Average([engine], mirror_axes=(0, 2)).phases == 1
    for phase, axes in enumerate([(), (2,), (4,), (2, 4)]):
        torch.testing.assert_close(average(windows, phase), windows)
        assert len(seen) == phase + 1
        torch.testing.assert_close(seen[phase], windows.flip(axes))


@pytest.mark.parametrize("phase", range(4))
def test_uncertain_windows_see_all_images_whatever_their_phase(phase: int) -> None:
    network, windows = EagerEngine(mixing_network()), torch.randn(3, 1, 6, 6, 6)
    full = Average([network], mirror_axes=(0, 2))(windows)
    average = Average([network], mirror_axes=(0, 2), alternate=True, certain=0.99999)
    torch.testing.assert_close(average(windows, phase), full)


def test_agreement_is_the_dice_of_passes_with_the_decision_before_them() -> None:
    agreement = Agreement(3)
    decided = torch.tensor([0, 1, 1, 1], dtype=torch.uint8)
    for vote in (torch.tensor([0, 1, 1, 0], dtype=torch.uint8), decided):
        agreement.count(vote, decided)
    assert agreement.dice() == [2 * 2 / 5, 2 * 5 / 11, None]
    agreement.count(1 - decided, decided, where=decided == 2)
    assert agreement.dice() == [2 * 2 / 5, 2 * 5 / 11, None]


def test_mirror_images_are_compared_with_those_before_them() -> None:
    agreement = Agreement(2)
    towards = lambda x: torch.cat([torch.full_like(x, 1.5), Slope()(x)], dim=1)  # noqa: E731
    average = Average([towards], mirror_axes=(0,), agreement=agreement)
    average(torch.zeros(1, 1, 4, 1, 1))  # 0 0 1 1 as it is, 1 1 0 0 mirrored
    assert agreement.counted and agreement.dice() == [0.0, 0.0]


def test_soft_dice_is_what_the_probabilities_expect() -> None:
    logits = torch.tensor([[0.9, 0.2], [0.1, 0.8]]).log()[:, None, None]
    soft = SoftDice(2)
    soft.add(logits)
    first, second = soft.dice()
    assert abs(first - 2 * 0.9 / (1.1 + 1)) < 1e-6 and abs(second - 2 * 0.8 / (0.9 + 1)) < 1e-6


def test_logits_of_a_mirror_image_change_sides_with_the_image() -> None:
    """A network that calls the left half label 1 and the right half label 2, whatever is there."""

    def sided(windows: Tensor) -> Tensor:
        logits = torch.zeros(len(windows), 3, *windows.shape[2:])
        logits[:, 1, ..., : windows.shape[-1] // 2] = 1
        logits[:, 2, ..., windows.shape[-1] // 2 :] = 1
        return logits

    windows = torch.zeros(1, 1, 2, 2, 8)
    mean = Average([sided], mirror_axes=(1, 2), swapped=(0, 2, 1))(windows)
    torch.testing.assert_close(mean, sided(windows))
    assert not torch.allclose(Average([sided], mirror_axes=(2,))(windows), sided(windows))
