"""Centre lines of tubes by hand, on every way from the option to the table."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("skimage")

from app.core.files import read_json
from app.metrics.results import write_scores
from app.metrics.scores import score_case
from app.metrics.tubes import centreline_dice


def tube(first: int, stop: int, thick: int) -> np.ndarray:
    """A bar along the last axis, `thick` voxels wide."""
    mask = np.zeros((13, 13, 40), dtype=bool)
    mask[6 - thick // 2 : 7 + thick // 2, 6 - thick // 2 : 7 + thick // 2, first:stop] = True
    return mask


def test_shares_of_centre_lines_by_hand() -> None:
    line, half = tube(4, 36, 1), tube(4, 20, 1)
    assert centreline_dice(line, line) == 1.0
    # All of the short one's line lies in the long one, 16 of 32 voxels the other way.
    assert centreline_dice(half, line) == centreline_dice(line, half) == pytest.approx(2 * 0.5 / 1.5)
    assert centreline_dice(tube(4, 10, 1), tube(20, 36, 1)) == 0.0
    assert centreline_dice(tube(2, 38, 5), line) == pytest.approx(
        1.0
    )  # thickness does not count, Dice is .07


@pytest.mark.parametrize("seed", range(3))
def test_as_scikit_image_on_random_masks(seed: int) -> None:
    """The shares as Shit et al. publish them, of scikit-image's centre lines."""
    from skimage.morphology import skeletonize

    ours, theirs = (
        ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(2, 20, 18, 16)), (0, 2, 2, 2)) > 0
    )
    precision, sensitivity = (
        np.sum(skeletonize(one) * other) / np.sum(skeletonize(one))
        for one, other in ((ours, theirs), (theirs, ours))
    )
    assert centreline_dice(ours, theirs) == pytest.approx(
        2 * precision * sensitivity / (precision + sensitivity)
    )
    assert 0 < centreline_dice(ours, theirs) < 1


@pytest.mark.parametrize("sides", [(2, 2, 2), (2, 2, 10), (4, 4, 20)])
def test_block_that_is_thinned_away_is_its_own_centre_line(sides: tuple[int, int, int]) -> None:
    block, far = np.zeros((2, 8, 8, 40), dtype=bool)
    block[tuple(slice(1, 1 + side) for side in sides)] = True
    far[6, 6, 30:] = True
    assert centreline_dice(block, block) == 1.0 and centreline_dice(block, far) == 0.0
    half = block.copy()
    half[..., 1 + sides[2] // 2 :] = False  # again a block, or one line of it
    assert centreline_dice(half, block) == pytest.approx(2 * 0.5 / 1.5, abs=0.02)


def test_one_voxel_a_miss_and_an_absent_tube(tmp_path: Path) -> None:
    reference = np.zeros((6, 6, 6), dtype=np.uint8)
    reference[2, 2, 2], reference[4, 1:5, 4] = 1, 2
    nothing = np.zeros_like(reference)
    targets = {"vessel": (1,), "organ": (2,)}

    def scored(predicted: np.ndarray, reference: np.ndarray) -> list[dict[str, float | None]]:
        scores = score_case(
            "a",
            predicted,
            reference,
            spacing=(1.0, 1.0, 1.0),
            voxel_mm3=1.0,
            targets=targets,
            nsd_tolerance_mm=1.0,
            tubes=("vessel",),
        )
        write_scores(tmp_path, scores, {})
        return [dict(score.values) for score in scores]

    assert [values.get("cldice", "none") for values in scored(reference, reference)] == [1.0, "none"]
    assert scored(nothing, reference)[0]["cldice"] == 0.0
    assert scored(reference, nothing)[0]["cldice"] is None is scored(nothing, nothing)[0]["cldice"]
    scored(reference, reference)
    found = read_json(tmp_path / "statistics.json")["labels"]
    assert found["vessel"]["metrics"]["cldice"]["mean"] == 1.0 and "cldice" not in found["organ"]["metrics"]
    assert (tmp_path / "cases.csv").read_text().splitlines()[0].count("cldice") == 1
