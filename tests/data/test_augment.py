from dataclasses import replace

import numpy as np
import pytest
import torch

from app.core.errors import InputError
from app.data.augment import Augment, AugmentSettings

NONE = AugmentSettings(
    rotate=0,
    rotate_degrees=30,
    scale=0,
    scale_range=(0.7, 1.4),
    flip_axes=(),
    noise=0,
    noise_variance=(0.0, 0.1),
    blur=0,
    blur_sigma=(0.5, 1.0),
    brightness=0,
    brightness_range=(0.75, 1.25),
    contrast=0,
    contrast_range=(0.75, 1.25),
    low_resolution=0,
    low_resolution_range=(0.5, 1.0),
    gamma=0,
    gamma_range=(0.7, 1.5),
)
PATCH = (16, 20, 24)


def batch(shape: tuple[int, int, int] = (20, 24, 28)) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels are a slab structure that the image repeats exactly."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")).float()
    labels = ((grid[0] > 8) & (grid[1] > 9) & (grid[2] < 15)).to(torch.uint8)
    labels[:, :, 20:] = 2
    image = labels.float()[None, None].repeat(2, 2, 1, 1, 1)
    return image, labels[None].repeat(2, 1, 1, 1)


def apply(settings: AugmentSettings, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    chain = Augment(settings, patch=PATCH, spacing=(2.0, 1.0, 1.0), label_count=3)
    return chain.apply(*batch(), chain.draw(2, 2, np.random.default_rng(seed)))


def test_without_augmentation_it_is_the_centre() -> None:
    image, labels = apply(NONE)
    whole_image, whole_labels = batch()
    assert torch.equal(image, whole_image[..., 2:-2, 2:-2, 2:-2])
    assert torch.equal(labels, whole_labels[..., 2:-2, 2:-2, 2:-2].long())


def test_image_and_labels_move_together() -> None:
    image, labels = apply(replace(NONE, rotate=1.0, scale=1.0, flip_axes=(0, 1, 2)))
    assert labels.dtype == torch.int64 and labels.shape == (2, *PATCH)
    inside = (image[:, 0] - image[:, 0].round()).abs() < 1e-3
    agree = image[:, 0].round().long() == labels
    assert inside.float().mean() > 0.5
    assert (agree | ~inside).float().mean() > 0.995


def test_zero_rotation_and_scale_one_change_nothing() -> None:
    still = replace(NONE, rotate=1.0, rotate_degrees=0.0, scale=1.0, scale_range=(1.0, 1.0))
    image, labels = apply(still)
    plain_image, plain_labels = apply(NONE)
    torch.testing.assert_close(image, plain_image, atol=1e-4, rtol=0)
    assert torch.equal(labels, plain_labels)


def test_rotation_is_in_millimetres() -> None:
    """A quarter turn about W maps a voxel of D (2 mm) to two voxels of H (1 mm)."""
    chain = Augment(NONE, patch=(16, 16, 16), spacing=(2.0, 1.0, 1.0), label_count=2)
    image = torch.zeros(1, 1, 16, 16, 16)
    image[0, 0, 6:10] = 1  # 4 voxels of 2 mm
    turn = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    turned, _ = chain._resample(image, torch.zeros(1, 16, 16, 16, dtype=torch.uint8), turn)
    assert turned[0, 0, 8, :, 8].sum().item() == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize("name", ["noise", "blur", "brightness", "contrast", "low_resolution", "gamma"])
def test_intensity_changes_the_image_alone(name: str) -> None:
    image, labels = apply(replace(NONE, **{name: 1.0}))
    plain_image, plain_labels = apply(NONE)
    assert torch.equal(labels, plain_labels)
    assert torch.isfinite(image).all()
    assert not torch.equal(image, plain_image)
    assert (image - plain_image).abs().mean() < 1.5


def test_same_generator_same_result() -> None:
    everything = replace(NONE, rotate=1.0, noise=1.0, gamma=1.0, flip_axes=(0, 1, 2))
    assert torch.equal(apply(everything, 3)[0], apply(everything, 3)[0])
    assert not torch.equal(apply(everything, 3)[0], apply(everything, 4)[0])


def test_a_constant_channel_survives() -> None:
    everything = replace(NONE, noise=0, contrast=1.0, gamma=1.0, low_resolution=1.0, blur=1.0)
    chain = Augment(everything, patch=PATCH, spacing=(1.0, 1.0, 1.0), label_count=3)
    image, _ = chain.apply(
        torch.zeros(1, 1, *PATCH),
        torch.zeros(1, *PATCH, dtype=torch.uint8),
        chain.draw(1, 1, np.random.default_rng(0)),
    )
    assert torch.isfinite(image).all()


def test_impossible_settings_are_named() -> None:
    for changes, message in (
        ({"noise": 1.5}, "augment.noise"),
        ({"scale_range": (1.4, 0.7)}, "augment.scale_range"),
        ({"flip_axes": (3,)}, "augment.flip_axes"),
    ):
        with pytest.raises(InputError, match=message):
            replace(NONE, **changes)
