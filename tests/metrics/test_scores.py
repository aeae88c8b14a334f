import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.metrics.confusion_matrix import compute_confusion_matrix_metric, get_confusion_matrix
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from monai.metrics.meaniou import compute_iou
from monai.metrics.panoptic_quality import compute_panoptic_quality
from monai.metrics.surface_dice import compute_surface_dice
from monai.metrics.surface_distance import compute_average_surface_distance
from scipy import ndimage

from app.metrics.metric import METRICS, OF_TUBES
from app.metrics.overlap import IntegerMap
from app.metrics.score import Score, write_cases
from app.metrics.scores import score_case

TARGETS = {"liver": (1,), "tumour": (2,)}


def scored(predicted: IntegerMap, reference: IntegerMap, **options: object) -> list[Score]:
    settings = {"spacing": (2.0, 1.0, 1.0), "voxel_mm3": 2.0, "targets": TARGETS, "nsd_tolerance_mm": 1.0}
    return score_case("a", predicted, reference, **(settings | options))  # type: ignore[arg-type]


def test_scores_by_label_and_their_file(tmp_path: Path) -> None:
    reference = np.zeros((6, 6, 6), dtype=np.uint8)
    reference[:3] = 1
    predicted = reference.copy()
    predicted[2] = 2
    liver, tumour = scored(predicted, reference, group="patient", seen=reference[:, 2:])
    assert (liver.values["dice"], liver.values["hd95_mm"]) == (pytest.approx(0.8), pytest.approx(2.0))
    assert (liver.volume_mm3, liver.reference_mm3, liver.status) == (144.0, 216.0, "found")
    assert (liver.outside_region_voxels, tumour.outside_region_voxels) == (36, 0)
    assert tumour.status == "false alarm"
    known = {name: value for name, value in tumour.values.items() if value is not None}
    assert known == {"lesion_false_positives": 1.0, "false_positive_mm3": 72.0}
    write_cases(tmp_path / "cases.csv", [liver, tumour], {"site": {"a": "north"}})
    with (tmp_path / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    names = [metric.name for metric in METRICS if metric.name not in OF_TUBES]
    rest = ["volume_mm3", "reference_mm3", "group", "outside_region_voxels", "by_site"]
    assert list(rows[0]) == ["case", "label", "status", *names, *rest]
    assert rows[1]["hd95_mm"] == "" and rows[0]["dice"] == "0.8" and rows[0]["group"] == "patient"


def test_a_miss_has_the_worst_values_and_what_is_absent_none() -> None:
    reference = np.zeros((6, 8, 10), dtype=np.uint8)
    reference[1:3, 1:3, 1:3] = 1
    missed, absent = scored(np.zeros_like(reference), reference)
    assert (missed.status, absent.status) == ("missed", "absent")
    diagonal = math.sqrt(12**2 + 8**2 + 10**2)
    assert missed.values["hd95_mm"] == missed.values["assd_mm"] == pytest.approx(diagonal)
    zeros = (
        *(
            "dice",
            "iou",
            "nsd",
            "sensitivity",
            "precision",
            "lesion_f1",
            "lesion_sensitivity",
            "panoptic_quality",
        ),
    )
    assert [missed.values[name] for name in zeros] == [0.0] * len(zeros)
    assert missed.values["volume_error"] == -1.0 and missed.values["false_negative_mm3"] == 16.0
    assert {name for name, value in absent.values.items() if value is not None} == {
        *("lesion_false_positives", "false_positive_mm3")
    }


def test_regions_one_voxel_and_ignored_voxels() -> None:
    reference = np.zeros((5, 5, 5), dtype=np.uint8)
    reference[2, 2, 2], reference[0] = 2, 3
    predicted = np.zeros_like(reference)
    predicted[2, 2, 2], predicted[0] = 1, 1
    whole, core = scored(predicted, reference, targets={"whole": (1, 2), "core": (2,)}, ignore=3)
    assert whole.values["dice"] == 1.0 and whole.values["hd95_mm"] == 0.0 and whole.values["nsd"] == 1.0
    assert whole.values["lesion_false_positives"] == 0.0 and whole.volume_mm3 == 2.0
    assert core.status == "missed"


@pytest.mark.parametrize("seed", range(3))
def test_overlap_metrics_as_monai_on_random_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, reference = (rng.integers(0, 3, (9, 8, 7)).astype(np.uint8) for _ in range(2))
    batches = [
        torch.from_numpy(np.stack([labels == 1, labels == 2]))[None].float()
        for labels in (predicted, reference)
    ]
    matrix = get_confusion_matrix(*batches, include_background=True)
    expected = {
        "dice": compute_dice(*batches)[0],
        "iou": compute_iou(*batches)[0],
        "sensitivity": compute_confusion_matrix_metric("sensitivity", matrix)[0],
        "precision": compute_confusion_matrix_metric("precision", matrix)[0],
    }
    for label, score in enumerate(scored(predicted, reference)):
        for name, values in expected.items():
            assert score.values[name] == pytest.approx(float(values[label]), rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_cases_as_monai_on_random_maps_that_touch_their_faces(seed: int) -> None:
    """The whole way, boxes around labels included: what MONAI gives for whole maps."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(2, 20, 18, 16)), (0, 1.4, 1.4, 1.4))
    predicted, reference = ((field > 0.05).astype(int) + (field > 0.2) for field in fields)
    assert all(labels[0].any() and labels[:, :, -1].any() for labels in (predicted, reference))
    spacing = (2.5, 0.7, 1.3)
    scores = scored(predicted.astype(np.uint8), reference.astype(np.uint8), spacing=spacing)
    for label, score in enumerate(scores, start=1):
        masks = [torch.from_numpy(labels == label) for labels in (predicted, reference)]
        batches = [mask[None, None].float() for mask in masks]
        shared = {"include_background": True, "spacing": list(spacing)}
        instances = [torch.from_numpy(ndimage.label(mask, np.ones((3, 3, 3)))[0]) for mask in masks]
        hits, extra, missed = compute_panoptic_quality(
            *instances, match_iou_threshold=0.1, output_confusion_matrix=True
        ).tolist()[:3]
        expected = {
            "hd95_mm": compute_hausdorff_distance(*batches, percentile=95, **shared).item(),
            "assd_mm": compute_average_surface_distance(*batches, symmetric=True, **shared).item(),
            "nsd": compute_surface_dice(*batches, [1.0], use_subvoxels=True, **shared).item(),
            "lesion_f1": 2 * hits / (2 * hits + extra + missed),
            "lesion_sensitivity": hits / (hits + missed),
            "lesion_false_positives": extra,
            "panoptic_quality": compute_panoptic_quality(*instances, smooth_numerator=0).item(),
            "volume_error": masks[0].sum().item() / masks[1].sum().item() - 1,
        }
        for name, value in expected.items():
            assert score.values[name] == pytest.approx(value, rel=1e-5), name
