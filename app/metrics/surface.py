"""Surface distances in millimetres, by MONAI."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from app.core.types import Spacing
from app.metrics.metric import Mask

# monai 1.6 calls its own deprecated option; nothing for a user to act on.
warnings.filterwarnings("ignore", message=".*always_return_as_numpy.*", category=FutureWarning)


@dataclass(frozen=True)
class SurfaceDistances:
    """How far two surfaces lie apart."""

    hd95_mm: float
    """The larger of both directions' 95th percentiles."""
    assd_mm: float
    """The mean over both surfaces' voxels of the distance to the other surface."""
    nsd: float
    """Surface area within the tolerance of the other surface, over all area (Nikolov et al. 2018)."""


def surface_distances(
    predicted: Mask, reference: Mask, spacing: Spacing, tolerance_mm: float
) -> SurfaceDistances:
    """Compare two masks (D, H, W), neither empty, with background around them; `spacing` is per axis.

    What MONAI's compute_hausdorff_distance, compute_average_surface_distance (symmetric) and
    compute_surface_dice (subvoxels) give, from surfaces that are found once.
    """
    from monai.metrics.utils import get_mask_edges, get_surface_distance  # seconds to import

    masks = [torch.from_numpy(np.ascontiguousarray(mask)) for mask in (predicted, reference)]
    ours, theirs = get_mask_edges(*masks, crop=False)
    there = get_surface_distance(ours, theirs, spacing=list(spacing)).numpy()
    back = get_surface_distance(theirs, ours, spacing=list(spacing)).numpy()
    hd95 = max(float(np.percentile(distances, 95)) for distances in (there, back))

    ours, theirs, *areas = get_mask_edges(*masks, crop=False, spacing=list(spacing))
    within, total = 0.0, 0.0
    for edges, others, area in ((ours, theirs, areas[0]), (theirs, ours, areas[1])):
        near = get_surface_distance(edges, others, spacing=list(spacing)) <= tolerance_mm
        within += float(area[edges][near].sum())
        total += float(area[edges].sum())
    return SurfaceDistances(hd95, float(np.concatenate([there, back]).mean()), within / total)
