"""Centre lines of tubes, such as vessels and airways, and how two masks share them."""

import numpy as np

from app.metrics.metric import Mask


def centreline_dice(predicted: Mask, reference: Mask) -> float:
    """Return the clDice of two masks (D, H, W), neither empty (Shit et al., CVPR 2021).

    It is the harmonic mean of two shares: of the prediction's centre line inside the reference, and of the
    reference's inside the prediction. Centre lines are scikit-image's, in voxels, whatever their spacing.
    """
    shares = []
    for mask, other in ((predicted, reference), (reference, predicted)):
        line = _centre_line(mask)
        shares.append(np.count_nonzero(line & other) / np.count_nonzero(line))
    return 2 * shares[0] * shares[1] / sum(shares) if any(shares) else 0.0


def _centre_line(mask: Mask) -> Mask:
    """Return the centre line of a mask; it is the mask itself if scikit-image thins all of it away.

    That happens to solid blocks with sides of an even number of voxels, such as 2x2x2 or 4x4x20.
    """
    from skimage.morphology import skeletonize

    line = np.asarray(skeletonize(mask), dtype=bool)
    return line if line.any() else mask
