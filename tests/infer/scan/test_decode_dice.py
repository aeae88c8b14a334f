"""Decoding for Dice by hand-computed probabilities, and against a search over all thresholds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from app.infer.scan.decode_dice import decode_dice


def decoded(foreground: list[float]) -> list[int]:
    """Labels of voxels in a row with these probabilities of label 1; the others are background."""
    one = np.array(foreground, dtype=np.float32)
    labels = np.full((len(one), 1, 1), 9, dtype=np.uint8)
    decode_dice(np.stack([1 - one, one])[..., None, None], labels)
    return [int(value) for value in labels.ravel()]


def test_a_voxel_below_a_half_belongs_to_the_label_where_its_dice_gains() -> None:
    # Label 1: S = 1.5. Expected Dice of its first one, two, three and four voxels: 2 * .6 / 3.5 = .34,
    # 2 * 1.05 / 4.5 = .47, 2 * 1.45 / 5.5 = .53, 2 * 1.5 / 6.5 = .46: three, though only one is likelier 1.
    # Background: S = 2.5, so .42, .56, 2 * 2.1 / 6.5 = .65 and 2 * 2.5 / 7.5 = .67: all four.
    # The last voxel is the background's alone. By the third, label 1 gains .4 / 3.5 = .114, the background
    # (.95 + .6) / 5.5 - .95 / 4.5 = .071.
    assert decoded([0.6, 0.45, 0.4, 0.05]) == [1, 1, 1, 0]


def test_sure_voxels_are_as_they_were_and_a_label_below_a_half_is_nowhere() -> None:
    assert decoded([0.99, 0.98, 0.01, 0.02, 0.01]) == [1, 1, 0, 0, 0]
    assert decoded([0.5, 0.4, 0.3]) == [0, 0, 0]


@pytest.mark.parametrize("seed", range(4))
def test_as_sorting_all_voxels_gives_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (3, 6, 5, 4)) + np.array([2.0, 0.0, -1.0])[:, None, None, None]
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=0)).astype(np.float32)
    labels = np.zeros((6, 5, 4), dtype=np.uint8)
    decode_dice(probabilities, labels)
    assert labels.ravel().tolist() == by_sorting(probabilities.reshape(3, -1).astype(np.float64))


def by_sorting(flat: NDArray[np.float64]) -> list[int]:
    """The definition: the best number of voxels of each label, then the largest gain where masks disagree."""
    masks, total = np.zeros(flat.shape, dtype=bool), flat.sum(axis=1)
    for label, values in enumerate(flat):
        order = np.argsort(-values)
        expected = 2 * values[order].cumsum() / (total[label] + np.arange(1, values.size + 1) + 1)
        if values.max() > 0.5:
            masks[label, order[: expected.argmax() + 1]] = True
    alone = masks & (masks.sum(axis=0) == 1)
    count, inside = alone.sum(axis=1), (flat * alone).sum(axis=1)
    base = (count + total + 1)[:, None]
    gain = (inside[:, None] + flat) / (base + 1) - inside[:, None] / base
    wanted = np.where(masks.any(axis=0), masks, masks.any(axis=1)[:, None])
    return [int(label) for label in np.where(wanted, gain, -np.inf).argmax(axis=0)]
