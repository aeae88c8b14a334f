"""The list of metrics: name, unit, direction of improvement and range of values."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Metric:
    """A metric, which gives one number per case and label; `name` is its column in cases.csv."""

    name: str
    title: str
    unit: str
    better: int
    """Direction: 1 if higher is better, -1 if lower is better, 0 if closer to 0 is better."""
    low: float
    """Lower bound of the values."""
    high: float
    """Upper bound of the values."""

    def badness(self, value: float) -> float:
        """Return a number that is larger for a worse value."""
        return abs(value) if self.better == 0 else -self.better * value


_INFINITE = float("inf")

METRICS = (
    Metric("dice", "Dice", "", 1, 0, 1),
    Metric("hd95_mm", "HD95", "mm", -1, 0, _INFINITE),
    Metric("nsd", "NSD", "", 1, 0, 1),
    Metric("assd_mm", "ASSD", "mm", -1, 0, _INFINITE),
    Metric("iou", "IoU", "", 1, 0, 1),
    Metric("sensitivity", "Sensitivity", "", 1, 0, 1),
    Metric("precision", "Precision", "", 1, 0, 1),
    Metric("volume_error", "Volume error", "", 0, -1, _INFINITE),
    Metric("lesion_f1", "Lesion F1", "", 1, 0, 1),
    Metric("lesion_sensitivity", "Lesion sensitivity", "", 1, 0, 1),
    Metric("panoptic_quality", "Panoptic quality", "", 1, 0, 1),
    Metric("lesion_false_positives", "False lesions", "", -1, 0, _INFINITE),
    Metric("false_positive_mm3", "False lesion volume", "mm3", -1, 0, _INFINITE),
    Metric("false_negative_mm3", "Missed lesion volume", "mm3", -1, 0, _INFINITE),
    Metric("cldice", "clDice", "", 1, 0, 1),
)
"""All metrics, in the order of the columns of cases.csv."""

OF_TUBES = ("cldice",)
"""Metrics that only labels have which the task calls tubes."""

OF_PREDICTION = ("lesion_false_positives", "false_positive_mm3")
"""Metrics that are defined even if the reference lacks the label."""
