import csv
from pathlib import Path

import numpy as np
import pytest

from app.core.types import Spacing
from app.metrics.dice import Dice
from app.metrics.metric import Mask
from app.metrics.scores import score_case, standard_metrics, summarise_scores, write_cases
from app.metrics.surface import HausdorffDistance95, NormalisedSurfaceDice

UNIT: Spacing = (1.0, 1.0, 1.0)


def cube(start: int, stop: int) -> Mask:
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[start:stop, 5:15, 5:15] = True
    return mask


def test_dice_by_hand() -> None:
    assert Dice()(cube(5, 15), cube(5, 15), UNIT) == 1.0
    assert Dice()(cube(5, 15), cube(10, 20), UNIT) == 0.5
    assert Dice()(cube(5, 15), cube(0, 0), UNIT) == 0.0
    assert Dice()(cube(0, 0), cube(0, 0), UNIT) is None


def test_hausdorff_is_in_millimetres() -> None:
    assert HausdorffDistance95()(cube(5, 15), cube(5, 15), UNIT) == 0.0
    assert HausdorffDistance95()(cube(5, 15), cube(8, 18), UNIT) == pytest.approx(3.0)
    assert HausdorffDistance95()(cube(5, 15), cube(8, 18), (2.5, 1.0, 1.0)) == pytest.approx(7.5)
    assert HausdorffDistance95()(cube(5, 15), cube(0, 0), UNIT) is None


def test_a_stray_voxel_is_beyond_the_95th_percentile() -> None:
    predicted = cube(5, 15)
    predicted[0, 0, 0] = True
    assert HausdorffDistance95()(predicted, cube(5, 15), UNIT) == 0.0


def test_surface_dice_by_tolerance() -> None:
    first, second = cube(5, 15), cube(7, 17)
    assert NormalisedSurfaceDice(2.1)(first, second, UNIT) == pytest.approx(1.0)
    strict = NormalisedSurfaceDice(0.9)(first, second, UNIT)
    assert strict is not None and 0.3 < strict < 0.8
    in_mm = [NormalisedSurfaceDice(tolerance)(first, second, (2.0, 1.0, 1.0)) for tolerance in (2.1, 4.1)]
    assert in_mm[0] is not None and in_mm[0] < 0.9 and in_mm[1] == pytest.approx(1.0)
    assert NormalisedSurfaceDice(1.0)(first, cube(0, 0), UNIT) == 0.0
    assert NormalisedSurfaceDice(1.0)(cube(0, 0), cube(0, 0), UNIT) is None
    touching_the_border = NormalisedSurfaceDice(1.0)(cube(0, 20), cube(0, 20), UNIT)
    assert touching_the_border == pytest.approx(1.0)


def test_scores_by_label_and_their_summary(tmp_path: Path) -> None:
    reference = np.zeros((6, 6, 6), dtype=np.uint8)
    reference[:3] = 1
    predicted = reference.copy()
    predicted[2] = 2
    scores = score_case(
        "a",
        predicted,
        reference,
        spacing=(2.0, 1.0, 1.0),
        voxel_mm3=2.0,
        targets={"liver": (1,), "tumour": (2,)},
        metrics=standard_metrics(1.0),
    )
    liver, tumour = scores
    assert (liver.values["dice"], liver.values["hd95_mm"]) == (pytest.approx(0.8), pytest.approx(2.0))
    assert (liver.volume_mm3, liver.reference_mm3) == (144.0, 216.0)
    assert tumour.values == {"dice": 0.0, "hd95_mm": None, "nsd": 0.0}
    summary = summarise_scores(scores)
    assert summary["mean_dice"] == pytest.approx(0.4)
    assert summary["hd95_mm"]["tumour"] is None
    write_cases(tmp_path / "cases.csv", scores)
    with (tmp_path / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["case", "label", "dice", "hd95_mm", "nsd", "volume_mm3", "reference_mm3"]
    assert rows[1]["hd95_mm"] == "" and rows[0]["dice"] == "0.8"


def test_every_metric_says_what_it_is() -> None:
    for metric in standard_metrics(1.0):
        assert metric.name and isinstance(metric.higher_is_better, bool) and isinstance(metric.unit, str)
