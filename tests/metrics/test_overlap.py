import numpy as np

from app.metrics.dice import Dice
from app.metrics.overlap import dice_by_target, pair_counts
from app.metrics.target_masks import target_masks

TARGETS = {"one": (1,), "whole": (1, 2, 3), "gone": (4,)}


def test_counts_of_pairs_give_the_dice_of_masks() -> None:
    rng = np.random.default_rng(0)
    predicted, reference = (rng.integers(0, 4, (9, 8, 7)).astype(np.uint8) for _ in range(2))
    counts = pair_counts(predicted, reference)
    assert counts.shape == (4, 4) and counts.sum() == 9 * 8 * 7
    assert counts[1, 2] == np.count_nonzero((predicted == 2) & (reference == 1))
    for ignore in (None, 3):
        masks = target_masks(predicted, reference, TARGETS, ignore)
        wanted = {name: Dice()(*pair, (1.0, 1.0, 1.0)) for name, pair in masks.items()}
        assert dice_by_target(predicted, reference, TARGETS, ignore) == wanted
    assert wanted["gone"] is None
