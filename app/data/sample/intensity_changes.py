"""Random changes of the intensities of one channel of one patch."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from app.data.sample.augment_settings import AugmentSettings


def draw_intensity(
    settings: AugmentSettings, rng: np.random.Generator
) -> tuple[Callable[[Tensor], object], ...]:
    """Draw the changes of intensity of one channel of one patch; they act in place on (D, H, W)."""
    drawn: list[Callable[[Tensor], object]] = []
    if rng.random() < settings.noise:
        seed = int(rng.integers(2**62))
        drawn.append(partial(_noise, seed=seed, spread=math.sqrt(rng.uniform(*settings.noise_variance))))
    if rng.random() < settings.blur:
        drawn.append(partial(_blur, sigma=rng.uniform(*settings.blur_sigma)))
    if rng.random() < settings.brightness:
        drawn.append(partial(Tensor.mul_, other=rng.uniform(*settings.brightness_range)))
    if rng.random() < settings.contrast:
        drawn.append(partial(_contrast, factor=rng.uniform(*settings.contrast_range)))
    if rng.random() < settings.low_resolution:
        drawn.append(partial(_low_resolution, zoom=rng.uniform(*settings.low_resolution_range)))
    if rng.random() < settings.gamma:
        gamma = rng.uniform(*settings.gamma_range)
        drawn.append(partial(_gamma, gamma=gamma, inverted=rng.random() < 0.25))
    return tuple(drawn)


def _noise(channel: Tensor, seed: int, spread: float) -> None:
    generator = torch.Generator(channel.device).manual_seed(seed)
    noise = torch.empty_like(channel).normal_(generator=generator)
    channel.add_(noise, alpha=spread)


def _blur(channel: Tensor, sigma: float) -> None:
    from monai.networks.layers.convutils import gaussian_1d  # takes seconds to import; only training needs it
    from monai.networks.layers.simplelayers import separable_filtering

    kernel = gaussian_1d(torch.tensor(sigma, device="cpu"), truncated=3.0).float().to(channel.device)
    channel.copy_(separable_filtering(channel[None, None], [kernel] * 3, mode="replicate")[0, 0])


def _contrast(channel: Tensor, factor: float) -> None:
    """Scale intensities about their mean, clipped to their old range."""
    mean, low, high = channel.mean(), channel.min(), channel.max()
    channel.sub_(mean).mul_(factor).add_(mean).clamp_(low, high)


def _low_resolution(channel: Tensor, zoom: float) -> None:
    small = [max(1, round(voxels * zoom)) for voxels in channel.shape]
    coarse = F.interpolate(channel[None, None], size=small, mode="nearest-exact")
    channel.copy_(F.interpolate(coarse, size=channel.shape, mode="trilinear", align_corners=False)[0, 0])


def _gamma(channel: Tensor, gamma: float, *, inverted: bool) -> None:
    """Raise intensities, scaled to 0..1, to the power `gamma`, then restore mean and standard deviation.

    With `inverted`, this is done on the negative image.
    """
    mean, spread = channel.mean(), channel.std()
    if inverted:
        channel.neg_()
    low, high = channel.min(), channel.max()
    channel.sub_(low).div_((high - low).clamp_min(1e-7)).pow_(gamma)
    if inverted:
        channel.neg_()
    channel.sub_(channel.mean()).mul_(spread / channel.std().clamp_min(1e-7)).add_(mean)
