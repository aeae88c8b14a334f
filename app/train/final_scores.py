"""The final evaluation of a run: segment and score every held-out case in the scan's own geometry."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core import run_folder
from app.core.progress import progress_bar
from app.core.read_ahead import read_ahead
from app.core.task import Case, Task
from app.core.types import Spacing
from app.data.prepare.case_errors import naming
from app.data.prepare.geometry import Geometry, network_view
from app.data.prepare.parallel import fitting_workers
from app.data.prepare.prepare import Prepared, read_case
from app.infer.scan.probe import Probe
from app.infer.scan.segmentation import Arrays
from app.infer.scan.segmenter import Segmenter
from app.io.label_values import class_type
from app.io.volumes import LabelMap, write_label_map
from app.metrics.calibration import CaseSums, sample_voxels, sums_of
from app.metrics.overlap import IntegerMap
from app.metrics.score import Score
from app.metrics.scores import score_case
from app.train.machine.processes import ALONE, Processes

log = logging.getLogger(__name__)
_TOGETHER = 3  # cases in memory at once: one that is read, one in the network, one that is scored


@dataclass(frozen=True)
class HeldOut:
    """The scores of all cases, and the sums for calibration metrics by case id."""

    scores: list[Score]
    sums: dict[str, CaseSums]


def evaluate_held_out(
    segmenter: Segmenter,
    cases: Sequence[Case],
    task: Task,
    run: Path,
    *,
    nsd_tolerance_mm: float,
    groups: Mapping[str, str] | None = None,
    processes: Processes = ALONE,
) -> HeldOut:
    """Segment each case, write its label map into the run folder, and score labels and probabilities.

    `groups` maps the id of a case to its group, if it has one. Each case is evaluated by one of the
    processes; all processes receive all scores. While the network runs on one case, the next is read and the
    one before is scored, if memory suffices for them together.
    """
    if not cases:
        return HeldOut([], {})
    evaluation = _Evaluation(segmenter, task, run, nsd_tolerance_mm, groups or {})
    mine = processes.share(cases)
    side_by_side = len(mine) > 1 and fitting_workers(mine, _TOGETHER, task.reading) == _TOGETHER
    with progress_bar("Evaluating", len(mine)) as advance, ThreadPoolExecutor(1) as scorer:
        scoring: list[Future[dict[str, Any]]] = []
        for case, read in read_ahead(mine, evaluation.read, ahead=side_by_side):
            segmented = evaluation.segment(read())
            if scoring:
                scoring[-1].result()
            scoring.append(scorer.submit(evaluation.score, segmented))
            if not side_by_side:
                scoring[-1].result()
            advance(note=case.id)
        found = processes.collect([future.result() for future in scoring], len(cases))
    scores = [Score(**score) for one in found for score in one["scores"]]
    sums = {case.id: CaseSums.from_dict(one["sums"]) for case, one in zip(cases, found, strict=True)}
    return HeldOut(scores, sums)


@dataclass(frozen=True)
class _ReadCase:
    """A case before the network runs on it."""

    case: Case
    prepared: Prepared
    reference: LabelMap
    spacing: Spacing
    voxel_mm3: float
    sampled: NDArray[np.intp]
    """Voxels (N, 3) whose probabilities are scored."""


@dataclass(frozen=True)
class _SegmentedCase:
    """A case after the network."""

    read: _ReadCase
    arrays: Arrays
    probe: Probe
    geometry: Geometry
    """Geometry of the part of the scan that the network saw."""


@dataclass(frozen=True)
class _Evaluation:
    """The three steps of evaluating a case; several cases may be in different steps at once."""

    segmenter: Segmenter
    task: Task
    run: Path
    nsd_tolerance_mm: float
    groups: Mapping[str, str]

    def read(self, case: Case) -> _ReadCase:
        volume, reference = read_case(case, self.task)
        voxels = _judged(reference.voxels, case, self.task)
        sampled = sample_voxels(voxels, volume.spacing, self.task.ignore)
        return _ReadCase(
            case, self.segmenter.prepare(volume), reference, volume.spacing, volume.voxel_mm3, sampled
        )

    def segment(self, read: _ReadCase) -> _SegmentedCase:
        probe = Probe(read.sampled, len(self.segmenter.labels))
        labels = np.zeros(read.prepared.geometry.scan, dtype=class_type(len(self.task.segmented)))
        arrays = Arrays(labels, probe=probe)
        segmentation = self.segmenter.segment(read.prepared, arrays)
        if segmentation.dropped:
            log.info("%s: %s", read.case.id, segmentation.dropped)
        return _SegmentedCase(read, arrays, probe, segmentation.geometry)

    def score(self, segmented: _SegmentedCase) -> dict[str, Any]:
        """Write the label map; return scores and sums as plain values."""
        read, labels, task = segmented.read, segmented.arrays.labels, self.task
        case, reference = read.case, read.reference.voxels
        path = run_folder.prediction_path(self.run, case.id)
        with naming(case):
            write_label_map(path, labels, task.label_values, case.image, task.reading)
        region = self.segmenter.find_region is not None
        scores = score_case(
            case.id,
            labels,
            reference,
            spacing=read.spacing,
            voxel_mm3=read.voxel_mm3,
            targets=task.targets_in(case),
            nsd_tolerance_mm=self.nsd_tolerance_mm,
            ignore=task.ignore,
            group=self.groups.get(case.id),
            tubes=task.tubes,
            seen=network_view(reference[None], segmented.geometry)[0] if region else None,
        )
        sums = sums_of(segmented.probe.probabilities, reference[tuple(read.sampled.T)])
        return {"scores": [asdict(score) for score in scores], "sums": sums.to_dict()}


def _judged(reference: IntegerMap, case: Case, task: Task) -> IntegerMap:
    """Return the reference, or background only if it lacks some of the targets.

    Calibration would count voxels of a label that is not annotated as mistakes.
    """
    return reference if task.targets_in(case) == task.targets else np.zeros_like(reference)
