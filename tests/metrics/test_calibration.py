"""Calibration by hand, and a temperature that is found again."""

import numpy as np
import pytest
import torch

from app.metrics.calibration import CaseSums, calibration, sample_voxels, sums_of


def test_ece_brier_and_the_curve_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.7, 0.3]], dtype=np.float32)
    found = calibration({"a": sums_of(probabilities, np.array([0, 1, 1, 0]))}, {})
    # At .9 half are right, at .7 all are: (2 * .4 + 2 * .3) / 4.
    assert found["ece"] == pytest.approx(0.35, abs=1e-6)
    assert found["brier"] == pytest.approx((0.02 + 1.62 + 0.18 + 0.18) / 4, abs=1e-6)
    assert found["nll"] == pytest.approx(-np.log([0.9, 0.1, 0.7, 0.7]).mean(), abs=1e-6)
    assert [(one["share"], one["accuracy"]) for one in found["bins"]] == [(0.5, 1.0), (0.5, 0.5)]
    assert [one["confidence"] for one in found["bins"]] == pytest.approx([0.7, 0.9], abs=1e-6)
    assert found["temperature"] is None  # one group has no halves


def test_a_temperature_is_fitted_on_one_half_and_judged_on_the_other() -> None:
    rng = np.random.default_rng(0)
    cases = {}
    for case in range(6):
        logits = rng.normal(0, 1.5, (4000, 3))
        true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        labels = (true.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
        sharp = np.exp(2 * logits)  # twice as sure as it may be
        cases[str(case)] = sums_of((sharp / sharp.sum(axis=1, keepdims=True)).astype(np.float32), labels)
    again = {case: CaseSums.from_dict(sums.to_dict()) for case, sums in cases.items()}
    found = calibration(again, {"0": "p", "1": "p"})
    assert found["temperature"]["fitted"] == pytest.approx(2.0, rel=0.1)
    assert len(found["temperature"]["of_halves"]) == 2
    assert found["ece"] > 0.1 and found["temperature"]["ece"] < 0.02
    assert found["temperature"]["brier"] < found["brier"]
    assert found["temperature"]["voxels"] == found["voxels"] == 24000


def test_voxels_are_drawn_around_the_reference() -> None:
    reference = np.zeros((60, 60, 60), dtype=np.uint8)
    reference[30, 30, 30], reference[32, 30, 30] = 1, 2
    voxels = sample_voxels(reference, (5.0, 2.0, 10.0), None)
    assert voxels.min(axis=0).tolist() == [28, 25, 29] and voxels.max(axis=0).tolist() == [34, 35, 31]
    assert len(voxels) == 7 * 11 * 3 == len({tuple(one) for one in voxels.tolist()})
    known = sample_voxels(reference, (5.0, 2.0, 10.0), 2)
    assert known.max(axis=0).tolist() == [32, 35, 31] and [32, 30, 30] not in known.tolist()
    assert len(sample_voxels(0 * reference, (1.0, 1.0, 1.0), None)) == 0
    large = sample_voxels(np.ones((64, 64, 64), dtype=np.uint8), (1.0, 1.0, 1.0), None)
    assert len(large) == 2**15


@pytest.mark.parametrize("seed", range(3))
def test_as_monai_and_torch_on_random_probabilities(seed: int) -> None:
    binning = pytest.importorskip("monai.metrics.calibration", reason="MONAI 1.6").calibration_binning
    rng = np.random.default_rng(seed)
    drawn = rng.dirichlet((0.6, 0.5, 0.4), 3000).astype(np.float32)
    labels = np.where(rng.random(3000) < 0.6, drawn.argmax(axis=1), rng.integers(0, 3, 3000))
    found = calibration({"a": sums_of(drawn, labels)}, {})
    chosen = torch.from_numpy(drawn).max(dim=1)
    right = (chosen.indices == torch.from_numpy(labels)).float()
    sure, accurate, counts = (one[0, 0] for one in binning(chosen.values[None, None], right[None, None], 15))
    gaps = torch.nan_to_num((sure - accurate).abs()) * counts
    assert found["ece"] == pytest.approx(float(gaps.sum() / counts.sum()), rel=1e-4)
    own = torch.nn.functional.one_hot(torch.from_numpy(labels), 3).float()
    errors = torch.nn.functional.mse_loss(torch.from_numpy(drawn), own, reduction="none").sum(dim=1)
    assert found["brier"] == pytest.approx(float(errors.mean()), rel=1e-5)


@pytest.mark.parametrize("probabilities", [[0.5, 0.5], [1.0, 0.0]])
def test_probabilities_that_no_temperature_improves_keep_theirs(probabilities: list[float]) -> None:
    sums = sums_of(np.tile(np.float32(probabilities), (10, 1)), np.zeros(10, dtype=np.uint8))
    found = calibration({"a": sums, "b": sums}, {})["temperature"]
    assert (found["fitted"], found["of_halves"]) == (1.0, [1.0, 1.0])
