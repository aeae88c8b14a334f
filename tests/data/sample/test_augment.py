from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from app.core.errors import InputError
from app.data.sample.augment import Augment
from app.data.sample.augment_settings import AugmentSettings
from tests.support.config import NONE

PATCH = (16, 20, 24)


def batch(shape: tuple[int, int, int] = (20, 24, 28)) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels are a slab structure that the image repeats exactly."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")).float()
    labels = ((grid[0] > 8) & (grid[1] > 9) & (grid[2] < 15)).to(torch.uint8)
    labels[:, :, 20:] = 2
    image = labels.float()[None, None].repeat(2, 2, 1, 1, 1)
    return image, labels[None].repeat(2, 1, 1, 1)


def apply(settings: AugmentSettings, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    chain = Augment(settings, patch=PATCH, spacing=(2.0, 1.0, 1.0))
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
    chain = Augment(NONE, patch=(16, 16, 16), spacing=(2.0, 1.0, 1.0))
    image = torch.zeros(1, 1, 16, 16, 16)
    image[0, 0, 6:10] = 1  # 4 voxels of 2 mm
    turn = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    turned, _ = chain._resample(image, torch.zeros(1, 16, 16, 16, dtype=torch.uint8), turn)
    assert turned[0, 0, 8, :, 8].sum().item() == pytest.approx(8, abs=0.1)


def test_turns_stay_within_the_degrees_asked_for() -> None:
    chain = Augment(replace(NONE, rotate=1.0, rotate_degrees=10.0), patch=PATCH, spacing=(1.0, 1.0, 1.0))
    matrices = np.stack([drawn.matrix for drawn in chain.draw(50, 1, np.random.default_rng(0))])
    degrees = np.abs(Rotation.from_matrix(matrices).as_euler("xyz", degrees=True)).max(axis=0)
    assert (degrees > 9).all() and (degrees < 10.01).all()


def test_a_zoom_of_two_doubles_a_box() -> None:
    chain = Augment(
        replace(NONE, scale=1.0, scale_range=(2.0, 2.0)),
        patch=(16, 16, 16),
        spacing=(2.0, 1.0, 1.0),
    )
    box = torch.zeros(1, 1, 20, 20, 20)
    box[..., 8:12, 8:12, 8:12] = 1
    image, labels = chain.apply(box, box[0].to(torch.uint8), chain.draw(1, 1, np.random.default_rng(0)))
    for found in (image[0, 0], labels[0]):
        for line in (found[:, 8, 8], found[8, :, 8], found[8, 8, :]):
            assert line.sum().item() == pytest.approx(8, abs=0.01)


def test_flips_are_along_the_axes_asked_for() -> None:
    plain, image = on_noise(flip_axes=(2,))
    flipped = [torch.equal(after, before.flip(2)) for before, after in zip(plain, image, strict=True)]
    same = [torch.equal(after, before) for before, after in zip(plain, image, strict=True)]
    assert any(flipped) and any(same) and all(np.logical_xor(flipped, same))


def on_noise(**changes: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight patches (8, D, H, W) of normal values about 5, and what is made of them."""
    chain = Augment(
        replace(NONE, **changes),  # type: ignore[arg-type]
        patch=PATCH,
        spacing=(1.0, 1.0, 1.0),
    )
    plain = torch.randn(8, 1, *PATCH, generator=torch.Generator().manual_seed(0)) + 5
    labels = torch.zeros(8, *PATCH, dtype=torch.uint8)
    image, _ = chain.apply(plain, labels, chain.draw(8, 1, np.random.default_rng(0)))
    return plain[:, 0], image[:, 0]


def standardised(image: torch.Tensor) -> torch.Tensor:
    return (image - image.mean()) / image.std()


def test_noise_has_the_variance_drawn() -> None:
    plain, image = on_noise(noise=1.0, noise_variance=(0.04, 0.25))
    variances = (image - plain).var(dim=(1, 2, 3))
    assert 0.038 < variances.min() < 0.1 and 0.2 < variances.max() < 0.26
    assert (image - plain).mean().abs() < 0.01


def test_blur_spreads_a_voxel_by_its_sigma() -> None:
    chain = Augment(replace(NONE, blur=1.0, blur_sigma=(0.8, 0.8)), patch=PATCH, spacing=(1.0, 1.0, 1.0))
    point = torch.zeros(1, 1, *PATCH)
    point[0, 0, 8, 10, 12] = 1
    labels = torch.zeros(1, *PATCH, dtype=torch.uint8)
    image, _ = chain.apply(point, labels, chain.draw(1, 1, np.random.default_rng(0)))
    for axis, middle in enumerate((8, 10, 12)):
        line = image[0, 0].sum(dim=[other for other in range(3) if other != axis])
        variance = (line * (torch.arange(len(line)) - middle) ** 2).sum()
        assert line.sum().item() == pytest.approx(1, abs=0.01)
        assert variance.sqrt().item() == pytest.approx(0.8, rel=0.1)


def test_brightness_is_one_factor_a_patch() -> None:
    plain, image = on_noise(brightness=1.0, brightness_range=(0.5, 2.0))
    factors = image / plain
    torch.testing.assert_close(factors, factors[:, :1, :1, :1].expand_as(factors))
    assert 0.5 <= factors.min() < 0.8 and 1.5 < factors.max() <= 2.0


def test_contrast_is_about_the_mean_within_the_old_range() -> None:
    for factor in (0.5, 2.0):
        for plain, image in zip(*on_noise(contrast=1.0, contrast_range=(factor, factor)), strict=True):
            wanted = plain.mean() + factor * (plain - plain.mean())
            torch.testing.assert_close(image, wanted.clamp(plain.min(), plain.max()))


def test_low_resolution_takes_every_other_voxel() -> None:
    """What lies between two of half the resolution is 3/4 of one and 1/4 of the other, along each axis."""
    plain, image = on_noise(low_resolution=1.0, low_resolution_range=(0.5, 0.5))
    kept = plain[:, 1::2, 1::2, 1::2]
    wanted = torch.zeros_like(kept[:, :-1, :-1, :-1])
    for d, h, w in np.ndindex(2, 2, 2):
        share = (0.75, 0.25)[d] * (0.75, 0.25)[h] * (0.75, 0.25)[w]
        wanted += (
            share * kept[:, d : kept.shape[1] - 1 + d, h : kept.shape[2] - 1 + h, w : kept.shape[3] - 1 + w]
        )
    torch.testing.assert_close(image[:, 1:-1:2, 1:-1:2, 1:-1:2], wanted)
    assert torch.equal(*on_noise(low_resolution=1.0, low_resolution_range=(1.0, 1.0)))


def test_gamma_keeps_mean_spread_and_order() -> None:
    bends: set[int] = set()
    for plain, image in zip(*on_noise(gamma=1.0, gamma_range=(2.0, 2.0)), strict=True):
        span = plain.max() - plain.min()
        bent = ((plain - plain.min()) / span) ** 2, -(((plain.max() - plain) / span) ** 2)
        (bend,) = (
            i
            for i, way in enumerate(bent)
            if torch.allclose(standardised(image), standardised(way), atol=1e-3)
        )
        bends.add(bend)
        assert image.mean().item() == pytest.approx(plain.mean().item(), abs=1e-4)
        assert image.std().item() == pytest.approx(plain.std().item(), abs=1e-4)
        assert (image.flatten()[plain.flatten().argsort()].diff() >= 0).all()
    assert bends == {0, 1}  # some on the negative image


@pytest.mark.parametrize("name", ["noise", "blur", "brightness", "contrast", "low_resolution", "gamma"])
def test_intensity_changes_the_image_alone(name: str) -> None:
    image, labels = apply(replace(NONE, **{name: 1.0}))
    plain_image, plain_labels = apply(NONE)
    assert torch.equal(labels, plain_labels)
    assert torch.isfinite(image).all()
    assert not torch.equal(image, plain_image)


def test_same_generator_same_result() -> None:
    everything = replace(NONE, rotate=1.0, noise=1.0, gamma=1.0, flip_axes=(0, 1, 2))
    assert torch.equal(apply(everything, 3)[0], apply(everything, 3)[0])
    assert not torch.equal(apply(everything, 3)[0], apply(everything, 4)[0])


def test_a_constant_channel_survives() -> None:
    everything = replace(NONE, noise=0, contrast=1.0, gamma=1.0, low_resolution=1.0, blur=1.0)
    chain = Augment(everything, patch=PATCH, spacing=(1.0, 1.0, 1.0))
    image, _ = chain.apply(
        torch.full((1, 1, *PATCH), 3.0),
        torch.zeros(1, *PATCH, dtype=torch.uint8),
        chain.draw(1, 1, np.random.default_rng(0)),
    )
    torch.testing.assert_close(image, torch.full_like(image, 3.0), atol=0, rtol=0.01)


def test_impossible_settings_are_named() -> None:
    for changes, message in (
        ({"noise": 1.5}, "augment.noise"),
        ({"scale_range": (1.4, 0.7)}, "augment.scale_range"),
        ({"flip_axes": (3,)}, "augment.flip_axes"),
    ):
        with pytest.raises(InputError, match=message):
            replace(NONE, **changes)


def test_the_plan_multiplies_chances_unless_their_strength_is_set() -> None:
    settings = replace(NONE, rotate=0.2, gamma=0.3, flip_axes=(2,), strength=None)
    halved = settings.planned(0.5)
    assert (halved.rotate, halved.gamma, halved.flip_axes) == (0.1, 0.15, (2,))
    assert halved.planned(0.5) == halved  # once
    assert replace(settings, strength=1.0).planned(0.5).rotate == 0.2


def test_stacks_that_may_lie_any_way_are_turned_often_if_at_all() -> None:
    def turned(rotate: float, *, oriented: bool) -> int:
        chain = Augment(
            replace(NONE, rotate=rotate), patch=(4, 16, 16), spacing=(8.0, 1.0, 1.0), oriented=oriented
        )
        drawn = chain.draw(400, 1, np.random.default_rng(0))
        return sum(changes.matrix is not None for changes in drawn)

    assert turned(0.0, oriented=False) == 0
    assert 20 < turned(0.1, oriented=True) < 60
    assert 130 < turned(0.1, oriented=False) < 190


def test_a_flat_patch_is_turned_less_out_of_its_plane_than_in_it() -> None:
    settings = replace(NONE, rotate=1.0, rotate_degrees=30)
    assert settings.max_rotations((32, 32, 32), (1.0, 1.0, 1.0), oriented=True) == pytest.approx((30, 30, 30))
    about_depth, about_height, about_width = settings.max_rotations(
        (16, 32, 32), (1.0, 1.0, 1.0), oriented=True
    )
    assert about_depth == pytest.approx(30)
    assert 10 < about_height < 13 and about_height == about_width


@pytest.mark.parametrize(("oriented", "degrees"), [(True, 30), (False, 180)])
def test_thick_slices_are_turned_within_themselves_only(oriented: bool, degrees: float) -> None:
    settings = replace(NONE, rotate=1.0, scale=1.0, rotate_degrees=30)
    spacing = (10.0, 1.5, 1.5)
    assert settings.max_rotations((8, 32, 32), spacing, oriented=oriented) == pytest.approx((degrees, 0, 0))
    assert settings.margin((8, 32, 32), spacing)[0] == 8
    chain = Augment(settings, patch=(8, 32, 32), spacing=spacing, oriented=oriented)
    slices = torch.arange(8, dtype=torch.uint8)[:, None, None].expand(1, 8, 40, 40)
    _, labels = chain.apply(torch.zeros(1, 1, 8, 40, 40), slices, chain.draw(1, 1, np.random.default_rng(0)))
    inside = labels[0, :, 12:20, 12:20]
    assert torch.equal(inside, torch.arange(8)[:, None, None].expand_as(inside))


def test_sides_change_places_where_left_and_right_are_flipped_and_only_there() -> None:
    labels = torch.tensor([0, 1, 2, 3], dtype=torch.uint8).expand(1, 4, 4, 4)
    for axes, wanted in (((2,), [3, 1, 2, 0]), ((0,), [0, 1, 2, 3])):
        chain = Augment(
            replace(NONE, flip_axes=axes),
            patch=(4, 4, 4),
            spacing=(1.0, 1.0, 1.0),
            swapped=(0, 2, 1, 3),
        )
        changes = [replace(chain.draw(1, 1, np.random.default_rng(0))[0], flips=axes)]
        _, flipped = chain.apply(torch.zeros(1, 1, 4, 4, 4), labels, changes)
        assert flipped[0, 0, 0].tolist() == wanted


def test_all_is_computed_where_the_image_lies() -> None:
    """What is made without naming a place would lie on another device here, and could not be mixed in."""
    always = dict.fromkeys(("rotate", "scale", "noise", "blur", "brightness", "contrast", "gamma"), 1.0)
    settings = replace(NONE, **always, low_resolution=1.0, flip_axes=(0, 1, 2))
    chain = Augment(settings, patch=(8, 8, 8), spacing=(1.0, 1.0, 1.0), swapped=(0, 2, 1))
    image, labels = torch.rand(2, 1, 10, 10, 10), torch.randint(3, (2, 10, 10, 10), dtype=torch.uint8)
    changes = chain.draw(2, 1, np.random.default_rng(0))
    wanted = chain.apply(image, labels, changes)
    with torch.device("meta"):
        found = chain.apply(image, labels, changes)
    for one, other in zip(found, wanted, strict=True):
        assert one.device.type == "cpu" and torch.equal(one, other)
