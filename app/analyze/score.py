"""The 3DRF score of a convolution, in our formulation.

Wang, Feng et al. (arXiv 2009.05236) propose a score of receptive field over height, width and channels; their
formula is not fully public. Ours is for volumes: the logarithm of the voxels in the receptive field, capped
at the patch, plus the logarithm of the channels of the stage's input that are seen; the mean over output
channels.
"""

import numpy as np

from app.analyze.field import Extents, ReceptiveFields
from app.core.types import Size


def capped(field: ReceptiveFields, patch: Size) -> Extents:
    """Return the voxels along (D, H, W) that each channel sees of a patch, (C, 3)."""
    size: Extents = np.minimum(field.size, np.array(patch, dtype=np.float64))
    return size


def field_score(field: ReceptiveFields, patch: Size) -> float:
    """Return the mean of log(d h w c) over channels."""
    return float((np.log(capped(field, patch)).sum(axis=1) + np.log(field.channels)).mean())
