import numpy as np
from numpy.typing import NDArray

from app.data.plan.label_coverage import BOX_SHARES, label_coverage


def drawn(mask: NDArray[np.bool_], part: float, rng: np.random.Generator) -> bool:
    lengths = [round(part * extent) for extent in mask.shape]
    starts = [int(rng.integers(0, n - length + 1)) for n, length in zip(mask.shape, lengths, strict=True)]
    box = tuple(slice(low, low + length) for low, length in zip(starts, lengths, strict=True))
    return bool(mask[box].any())


def test_it_is_the_share_of_boxes_drawn_from_anywhere_that_hold_some() -> None:
    mask = np.zeros((48, 80, 70), dtype=np.bool_)
    mask[4:12, 60:75, 30:40] = mask[30, 10, 10] = True
    rng = np.random.default_rng(0)
    met, other, absent = label_coverage(np.where(mask, 1, 2 * (mask == 0)).astype(np.uint8), 4)
    assert other[3:] == (1.0,) * (len(BOX_SHARES) - 3) and absent == ()
    assert met[-1] == 1 and list(met) == sorted(met) and met[0] < 0.05
    for part, share in zip(BOX_SHARES, met, strict=True):
        assert abs(np.mean([drawn(mask, part, rng) for _ in range(1000)]) - share) < 0.1


def test_thin_scans_and_single_voxels_are_met() -> None:
    mask = np.zeros((3, 100, 1), dtype=np.bool_)
    mask[1, 50] = True
    (met,) = label_coverage(mask.astype(np.uint8), 2)
    assert met[-1] == 1 and 0 < met[0] < 0.05
    assert label_coverage(np.zeros((5, 5, 5), dtype=np.uint8), 3) == [(), ()]
