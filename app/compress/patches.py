"""The training patches that a trained network is fitted on."""

import torch
from torch import Tensor

from app.data.sample.patches import PatchSampler
from app.train.training import Training


def training_patches(this: Training, count: int) -> list[Tensor]:
    """Return batches (B, C, D, H, W) of training patches without augmentation."""
    sampler = PatchSampler(
        [this.cached[case.id] for case in this.split.training],
        size=this.plan.patch,
        margin=this.plan.patch,
        batch=this.plan.batch,
        foreground_share=this.plan.foreground_share,
        seed=this.recipe.seed,
    )
    return [torch.from_numpy(sampler.draw(step).image) for step in range(count)]
