"""The final evaluation of a run: segment and score every held-out case in the scan's own geometry."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.core import run_folder
from app.core.progress import progress_bar
from app.core.task import Case, Task
from app.data.prepare.geometry import network_view
from app.data.prepare.prepare import read_case
from app.infer.scan.probe import Probe
from app.infer.scan.segmentation import Arrays
from app.infer.scan.segmenter import Segmenter
from app.io.label_values import class_type
from app.io.volumes import write_label_map
from app.metrics.calibration import CaseSums, sample_voxels, sums_of
from app.metrics.overlap import IntegerMap
from app.metrics.score import Score
from app.metrics.scores import score_case
from app.train.machine.processes import ALONE, Processes

log = logging.getLogger(__name__)


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
    processes; all processes receive all scores.
    """
    if not cases:
        return HeldOut([], {})
    with progress_bar("Evaluating", len(processes.share(cases))) as advance:

        def evaluate(case: Case) -> dict[str, Any]:
            volume, reference = read_case(case, task)
            prepared = segmenter.prepare(volume)
            voxels = sample_voxels(_judged(reference.voxels, case, task), volume.spacing, task.ignore)
            probe = Probe(voxels, len(segmenter.labels))
            arrays = Arrays(
                np.zeros(prepared.geometry.scan, dtype=class_type(len(task.segmented))), probe=probe
            )
            segmentation = segmenter.segment(prepared, arrays)
            if segmentation.dropped:
                log.info("%s: %s", case.id, segmentation.dropped)
            path = run_folder.prediction_path(run, case.id)
            write_label_map(path, arrays.labels, task.label_values, case.image, task.reading)
            scores = score_case(
                case.id,
                arrays.labels,
                reference.voxels,
                spacing=volume.spacing,
                voxel_mm3=volume.voxel_mm3,
                targets=task.targets_in(case),
                nsd_tolerance_mm=nsd_tolerance_mm,
                ignore=task.ignore,
                group=(groups or {}).get(case.id),
                tubes=task.tubes,
                seen=network_view(reference.voxels[None], segmentation.geometry)[0]
                if segmenter.find_region
                else None,
            )
            advance(note=case.id)
            sums = sums_of(probe.probabilities, reference.voxels[tuple(voxels.T)])
            return {"scores": [asdict(score) for score in scores], "sums": sums.to_dict()}

        found = processes.over(cases, evaluate)
    scores = [Score(**score) for one in found for score in one["scores"]]
    sums = {case.id: CaseSums.from_dict(one["sums"]) for case, one in zip(cases, found, strict=True)}
    return HeldOut(scores, sums)


def _judged(reference: IntegerMap, case: Case, task: Task) -> IntegerMap:
    """Return the reference, or background only if it lacks some of the targets.

    Calibration would count voxels of a label that is not annotated as mistakes.
    """
    return reference if task.targets_in(case) == task.targets else np.zeros_like(reference)
