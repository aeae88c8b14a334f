"""The last word on a run: every held-out case segmented and scored in the scan's own geometry."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from app.core import run_folder
from app.core.progress import progress_bar
from app.core.task import Case, Task
from app.data.prepare.geometry import network_view
from app.data.prepare.prepare import read_case
from app.infer.scan.segmentation import Arrays
from app.infer.scan.segmenter import Segmenter
from app.io.volumes import write_label_map
from app.metrics.score import Score
from app.metrics.scores import score_case
from app.train.machine.processes import ALONE, Processes


def evaluate_held_out(
    segmenter: Segmenter,
    cases: Sequence[Case],
    task: Task,
    run: Path,
    *,
    nsd_tolerance_mm: float,
    groups: Mapping[str, str] | None = None,
    processes: Processes = ALONE,
) -> list[Score]:
    """Write each case's label map into the run folder and score it against its reference.

    `groups` has the group of each case that belongs to one. Each case is the work of one of the processes;
    all get the scores.
    """
    with progress_bar("Evaluating", len(processes.share(cases))) as advance:

        def evaluate(case: Case) -> list[dict[str, Any]]:
            volume, reference = read_case(case, task)
            prepared = segmenter.prepare(volume)
            arrays = Arrays(np.zeros(prepared.geometry.scan, dtype=np.uint8))
            geometry = segmenter.segment(prepared, arrays).geometry
            write_label_map(run_folder.prediction_path(run, case.id), arrays.labels, like=case.image)
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
                seen=network_view(reference.voxels[None], geometry)[0] if segmenter.find_region else None,
            )
            advance(note=case.id)
            return [asdict(score) for score in scores]

        found = processes.over(cases, evaluate)
    return [Score(**score) for scores in found for score in scores]
