"""The training patches that a trained network is fitted on."""

import torch
from torch import Tensor

from app.data.sample.patches import PatchSampler
from app.train.training import Training


def training_patches(training: Training, count: int) -> list[Tensor]:
    """Return batches (B, C, D, H, W) of training patches without augmentation."""
    sampler = PatchSampler(
        [training.cached[case.id] for case in training.split.training],
        size=training.plan.patch,
        margin=training.plan.patch,
        batch=training.plan.batch,
        foreground_share=training.plan.foreground_share,
        seed=training.recipe.seed,
    )
    return [torch.from_numpy(sampler.draw(step).image) for step in range(count)]
