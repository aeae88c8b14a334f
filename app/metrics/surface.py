"""Surface distances in millimetres, by MONAI: the 95th percentile Hausdorff distance and surface Dice."""

import warnings

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from app.core.types import Spacing
from app.metrics.metric import Mask

# monai 1.6 calls its own deprecated option; nothing for a user to act on.
warnings.filterwarnings("ignore", message=".*always_return_as_numpy.*", category=FutureWarning)


class HausdorffDistance95:
    """Undefined (None) when the label is absent from either mask: there is no surface to be far from."""

    name = "hd95_mm"
    unit = "mm"
    higher_is_better = False

    def __call__(self, predicted: Mask, reference: Mask, spacing: Spacing) -> float | None:
        """The larger of both directions' 95th percentiles."""
        if not (predicted.any() and reference.any()):
            return None
        from monai.metrics.hausdorff_distance import compute_hausdorff_distance  # seconds to import

        masks = _as_batches(predicted, reference)
        distance = compute_hausdorff_distance(
            *masks, include_background=True, percentile=95, spacing=list(spacing)
        )
        return float(distance.item())


class NormalisedSurfaceDice:
    """Share of both surfaces within a tolerance (NSD). None when absent from both masks, 0 from one."""

    name = "nsd"
    unit = ""
    higher_is_better = True

    def __init__(self, tolerance_mm: float) -> None:
        self._tolerance_mm = tolerance_mm

    def __call__(self, predicted: Mask, reference: Mask, spacing: Spacing) -> float | None:
        """Surface area within the tolerance, both ways, over all surface area (Nikolov et al. 2018)."""
        if predicted.any() != reference.any():
            return 0.0
        if not predicted.any():
            return None
        from monai.metrics.surface_dice import compute_surface_dice

        masks = _as_batches(predicted, reference)
        share = compute_surface_dice(
            *masks, [self._tolerance_mm], include_background=True, spacing=spacing, use_subvoxels=True
        )
        return float(share.item())


def _as_batches(predicted: Mask, reference: Mask) -> tuple[Tensor, Tensor]:
    """Both as (1, 1, D, H, W), cut to their common box and a voxel of background around it."""
    (box,) = ndimage.find_objects((predicted | reference).astype(np.uint8))
    cut = [np.pad(mask[box], 1) for mask in (predicted, reference)]
    first, second = (torch.from_numpy(mask)[None, None] for mask in cut)
    return first, second
