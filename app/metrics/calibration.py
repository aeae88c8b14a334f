"""Calibration: whether 80 % of the voxels that a network predicts with 80 % confidence are correct.

It is measured on a sample of voxels in and around the labels of the reference, because the rest of a scan is
mostly background that is never in doubt. A temperature divides logits before the softmax (Guo et al., ICML
2017). It is fitted on one half of the held-out groups and measured on the other, for both halves in turn.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.types import Spacing
from app.metrics.overlap import IntegerMap

_TEMPERATURES = 2.0 ** np.linspace(-2, 3, 41)
_PLAIN = int(np.flatnonzero(_TEMPERATURES == 1)[0])
_BINS = 15
_SAMPLED = 2**15  # voxels per case
_MARGIN_MM = 10.0
_EQUAL = 1e-6  # difference of negative log-likelihoods that counts as none; `_LEAST` alone causes 1e-7
_LEAST = 1e-7  # smallest probability; float32 cannot represent 1 minus a smaller one


@dataclass(frozen=True)
class CaseSums:
    """The sums over the sampled voxels of a case.

    `brier` and `nll` (negative log-likelihood) are by temperature (T,). The others are by temperature and bin
    of confidence (T, B): number of voxels, sum of confidences, number of correct voxels.
    """

    voxels: int
    brier: NDArray[np.float64]
    nll: NDArray[np.float64]
    counts: NDArray[np.float64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, with lists in place of arrays."""
        return {
            name: value if isinstance(value, int) else np.asarray(value).tolist()
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CaseSums":
        """Rebuild the sums from `to_dict`."""
        arrays = {name: np.array(value) for name, value in values.items() if name != "voxels"}
        return cls(voxels=values["voxels"], **arrays)


def sample_voxels(reference: IntegerMap, spacing: Spacing, ignore: int | None) -> NDArray[np.intp]:
    """Draw voxels (N, 3) from the box around the labels of a reference plus 10 mm; none if it has no label.

    `spacing` is in mm per axis of the reference. Voxels of the class `ignore` are left out.
    """
    labelled = reference > 0 if ignore is None else (reference > 0) & (reference != ignore)
    sides = [np.flatnonzero(labelled.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not len(sides[0]):
        return np.zeros((0, 3), dtype=np.intp)
    margins = [math.ceil(_MARGIN_MM / mm) for mm in spacing]
    ranges = [
        (max(0, int(hits[0]) - more), min(n, int(hits[-1]) + 1 + more))
        for hits, more, n in zip(sides, margins, reference.shape, strict=True)
    ]
    shape = tuple(stop - start for start, stop in ranges)
    count = math.prod(shape)
    rng = np.random.default_rng(0)
    drawn = rng.choice(count, min(count, _SAMPLED), replace=False, shuffle=False)
    voxels = np.stack(np.unravel_index(np.sort(drawn), shape), axis=1) + [start for start, _ in ranges]
    known = True if ignore is None else reference[tuple(voxels.T)] != ignore
    kept: NDArray[np.intp] = voxels[np.broadcast_to(known, len(voxels))]
    return kept


def sums_of(probabilities: NDArray[np.float32], labels: IntegerMap) -> CaseSums:
    """Return the sums of a case from probabilities (N, L) of its sampled voxels and their labels (N,)."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), _LEAST))
    rows = np.arange(len(labels))
    chosen = logs.argmax(axis=1)
    found: dict[str, list[Any]] = {}
    for temperature in _TEMPERATURES:
        powers = np.exp((logs - logs.max(axis=1, keepdims=True)) / temperature)
        tempered = powers / powers.sum(axis=1, keepdims=True)
        of_label, sure = tempered[rows, labels], tempered[rows, chosen]
        place = np.minimum((sure * _BINS).astype(np.intp), _BINS - 1)
        sums = {
            "brier": ((tempered**2).sum(axis=1) - 2 * of_label + 1).sum(),
            "nll": -np.log(np.maximum(of_label, np.finfo(float).tiny)).sum(),
            "counts": np.bincount(place, minlength=_BINS).astype(float),
            "confidence": np.bincount(place, sure, _BINS),
            "right": np.bincount(place, chosen == labels, _BINS),
        }
        for name, value in sums.items():
            found.setdefault(name, []).append(value)
    return CaseSums(len(labels), **{name: np.array(values) for name, values in found.items()})


def calibration(cases: Mapping[str, CaseSums], groups: Mapping[str, str]) -> dict[str, Any]:
    """Return ECE, Brier score, negative log-likelihood and reliability curve, without and with temperature.

    All are means over sampled voxels. ECE is computed for the predicted label; the Brier score is summed over
    labels. `temperature.fitted` is fitted on all cases and `of_halves` on each half of the groups. The scores
    in `temperature` are measured on each half with the temperature fitted on the other half.
    """
    known = {case: sums for case, sums in cases.items() if sums.voxels}
    if not known:
        return {}
    everything = [(sums, _PLAIN) for sums in known.values()]
    found = {"cases": len(known), **_judged(everything)}
    halves = _halves(sorted({groups.get(case, case) for case in known}))
    if not all(halves):
        return {**found, "temperature": None}
    parts = [[s for case, s in known.items() if groups.get(case, case) in half] for half in halves]
    fitted = [_fit(part) for part in parts]
    crossed = [(sums, at) for part, at in zip(parts, reversed(fitted), strict=True) for sums in part]
    temperatures = [float(_TEMPERATURES[at]) for at in (_fit([*known.values()]), *fitted)]
    return {
        **found,
        "temperature": {"fitted": temperatures[0], "of_halves": temperatures[1:], **_judged(crossed)},
    }


def _halves(groups: Sequence[str]) -> tuple[set[str], set[str]]:
    """Split groups randomly into two halves, with a fixed seed."""
    shuffled = np.random.default_rng(0).permutation(groups).tolist()
    return set(shuffled[::2]), set(shuffled[1::2])


def _fit(cases: Sequence[CaseSums]) -> int:
    """Return the index of the temperature with the lowest negative log-likelihood; cases weigh equally.

    Of several, as for probabilities that are all equal, it is the one nearest to 1.
    """
    means = np.mean([sums.nll / sums.voxels for sums in cases], axis=0)
    best = np.flatnonzero(means <= means.min() + _EQUAL)
    return int(best[np.abs(best - _PLAIN).argmin()])


def _judged(cases: Sequence[tuple[CaseSums, int]]) -> dict[str, Any]:
    voxels = sum(sums.voxels for sums, _ in cases)
    counts, confidence, right = (
        np.sum([getattr(sums, name)[at] for sums, at in cases], axis=0)
        for name in ("counts", "confidence", "right")
    )
    bins = [
        {"confidence": s / n, "accuracy": r / n, "share": n / voxels}
        for n, s, r in zip(counts.tolist(), confidence.tolist(), right.tolist(), strict=True)
        if n
    ]
    return {
        "voxels": voxels,
        "ece": float(np.abs(confidence - right).sum() / voxels),
        "brier": float(sum(sums.brier[at] for sums, at in cases) / voxels),
        "nll": float(sum(sums.nll[at] for sums, at in cases) / voxels),
        "bins": bins,
    }
