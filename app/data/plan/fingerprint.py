"""The fingerprint: the facts of a data set that decide its plan, read once from every labelled case."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.plan import Normalisation
from app.core.scan_warning import warning_lines
from app.core.types import Size, Spacing, as_size, as_spacing
from app.data.plan.case_facts import Box, CaseFacts, case_facts
from app.data.plan.label_coverage import BOX_SHARES
from app.data.prepare.cache import Cache

FINGERPRINT_FORMAT = 10  # raised whenever a fact is added, removed or computed differently


@dataclass(frozen=True)
class Fingerprint:
    """The facts of a data set: sizes, spacings, labels, and each channel's intensities in the foreground."""

    cases: int
    median_size: Size
    median_spacing: Spacing
    nonzero_share: tuple[float, ...]
    """Median share of voxels that are not zero, per channel."""
    coverage: tuple[tuple[float, ...], ...]
    """For label values 1, 2, ...: the mean of `label_coverage` over the cases that have the label."""
    intensities: tuple[Normalisation, ...]
    """0.5th and 99.5th percentile, mean and standard deviation of the foreground, per channel."""
    brightest: tuple[tuple[float, float], ...]
    """99.5th percentile of the scan in the darkest and in the brightest case, per channel."""
    foreground_mm: Spacing
    """90th percentile of the extents of a case's bounding box of all labels, in millimetres."""
    centres: tuple[Spacing | None, ...]
    """Mean offset of label values 1, 2, ... from the centre of all labels, in mm; None if no case has it."""
    oriented: bool
    """Whether the header of every scan gives its orientation."""
    duplicates: tuple[tuple[str, ...], ...]
    """Ids of cases that hold the same scan."""
    warnings: tuple[str, ...] = ()
    """Facts missing from headers and oddities of scans, one line per kind with the cases."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Fingerprint":
        """Return the fingerprint that `to_dict` gave these values for."""
        return cls(
            cases=int(values["cases"]),
            median_size=as_size(values["median_size"]),
            median_spacing=as_spacing(values["median_spacing"]),
            nonzero_share=tuple(values["nonzero_share"]),
            coverage=tuple(tuple(shares) for shares in values["coverage"]),
            intensities=tuple(Normalisation(**channel) for channel in values["intensities"]),
            brightest=tuple((float(low), float(high)) for low, high in values["brightest"]),
            foreground_mm=as_spacing(values["foreground_mm"]),
            centres=tuple(centre and as_spacing(centre) for centre in values["centres"]),
            oriented=bool(values["oriented"]),
            duplicates=tuple(tuple(alike) for alike in values["duplicates"]),
            warnings=tuple(values.get("warnings", ())),
        )


def read_fingerprint(cache: Cache) -> Fingerprint:
    """Return the fingerprint of the cache's data set, computed once for the same content.

    Raises:
        InputError: a case cannot be used.
    """

    def make() -> dict[str, Any]:
        return summarise(cache.over_cases("Reading cases", case_facts)).to_dict()

    return Fingerprint.from_dict(cache.remember("fingerprint", FINGERPRINT_FORMAT, make))


def summarise(facts: Sequence[CaseFacts]) -> Fingerprint:
    """Return the fingerprint of a data set from the facts of its cases."""
    spacings = np.array([case.spacing for case in facts])
    inside = np.concatenate([case.foreground for case in facts], axis=1).astype(np.float64)
    return Fingerprint(
        cases=len(facts),
        median_size=as_size(np.median([case.size for case in facts], axis=0).round().tolist()),
        median_spacing=as_spacing(np.median(spacings, axis=0).tolist()),
        nonzero_share=tuple(np.median([case.nonzero_share for case in facts], axis=0).tolist()),
        coverage=tuple(_mean_coverage(label) for label in zip(*(f.coverage for f in facts), strict=True)),
        intensities=tuple(_intensities(channel) for channel in inside),
        brightest=_brightest([case.brightest for case in facts]),
        foreground_mm=_extents([box for case in facts if (box := case.box()) is not None]),
        centres=tuple(_centre(facts, label) for label in range(len(facts[0].boxes))),
        oriented=all(case.oriented for case in facts),
        duplicates=_duplicates(facts),
        warnings=tuple(warning_lines({case.id: case.warnings for case in facts})),
    )


def _duplicates(facts: Sequence[CaseFacts]) -> tuple[tuple[str, ...], ...]:
    """Return the ids of cases that share a digest, one group per shared digest."""
    alike: dict[str, list[str]] = {}
    for case in facts:
        alike.setdefault(case.digest, []).append(case.id)
    return tuple(tuple(ids) for ids in alike.values() if len(ids) > 1)


def _extents(boxes: Sequence[Box]) -> Spacing:
    """Return the 90th percentile of the boxes' extents; zero without boxes."""
    if not boxes:
        return 0.0, 0.0, 0.0
    return as_spacing(np.percentile([box.extent for box in boxes], 90, axis=0).tolist())


def _centre(facts: Sequence[CaseFacts], label: int) -> Spacing | None:
    """Return the mean offset of a label's centre from the centre of all labels of its case, in mm."""
    ways = []
    for case in facts:
        box, around = case.boxes[label], case.box()
        if box is not None and around is not None:
            ways.append(np.subtract(box.centre, around.centre))
    return as_spacing(np.mean(ways, axis=0).tolist()) if ways else None


def _mean_coverage(by_case: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    present = [shares for shares in by_case if shares]
    return tuple(np.mean(present, axis=0).tolist()) if present else (0.0,) * len(BOX_SHARES)


def _brightest(by_case: Sequence[tuple[float, ...]]) -> tuple[tuple[float, float], ...]:
    ends = zip(np.min(by_case, axis=0), np.max(by_case, axis=0), strict=True)
    return tuple((float(f"{darkest:.4g}"), float(f"{brightest:.4g}")) for darkest, brightest in ends)


def _intensities(inside: NDArray[np.float64]) -> Normalisation:
    if inside.size == 0:
        return Normalisation("ct")
    low, high = np.percentile(inside, [0.5, 99.5])
    return Normalisation("ct", float(low), float(high), float(inside.mean()), float(inside.std()))
