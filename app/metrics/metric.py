"""The metrics: what each is called, in which unit, which way is better, and what values it can have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Metric:
    """One number for one label of one case; `name` is its column in cases.csv."""

    name: str
    title: str
    unit: str
    better: int
    """1: higher is better, -1: lower is, 0: the nearer to 0."""
    low: float
    """No value is below."""
    high: float
    """No value is above."""

    def badness(self, value: float) -> float:
        """A number that grows as the value gets worse."""
        return abs(value) if self.better == 0 else -self.better * value


_INFINITE = float("inf")

METRICS = (
    Metric("dice", "Dice", "", 1, 0, 1),
    Metric("hd95_mm", "HD95", "mm", -1, 0, _INFINITE),
    Metric("nsd", "NSD", "", 1, 0, 1),
    Metric("assd_mm", "ASSD", "mm", -1, 0, _INFINITE),
    Metric("sensitivity", "Sensitivity", "", 1, 0, 1),
    Metric("precision", "Precision", "", 1, 0, 1),
    Metric("volume_error", "Volume error", "", 0, -1, _INFINITE),
    Metric("lesion_f1", "Lesion F1", "", 1, 0, 1),
    Metric("lesion_sensitivity", "Lesion sensitivity", "", 1, 0, 1),
    Metric("panoptic_quality", "Panoptic quality", "", 1, 0, 1),
    Metric("lesion_false_positives", "False lesions", "", -1, 0, _INFINITE),
    Metric("false_positive_mm3", "False lesion volume", "mm3", -1, 0, _INFINITE),
    Metric("false_negative_mm3", "Missed lesion volume", "mm3", -1, 0, _INFINITE),
)
"""Every metric, in the order of the columns of cases.csv."""

OF_PREDICTION = ("lesion_false_positives", "false_positive_mm3")
"""Metrics that have a value without a reference too."""
