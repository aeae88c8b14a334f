"""The last word on a run: every held-out case segmented and scored in the scan's own geometry."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.core import run_folder
from app.core.progress import progress_bar
from app.core.task import Case, Task
from app.data.prepare.prepare import read_case
from app.infer.scan.segmenter import Segmenter
from app.io.volumes import write_label_map
from app.metrics.metric import Metric
from app.metrics.scores import Score, score_case
from app.train.machine.processes import ALONE, Processes


def evaluate_held_out(
    segmenter: Segmenter,
    cases: Sequence[Case],
    task: Task,
    run: Path,
    metrics: Sequence[Metric],
    *,
    processes: Processes = ALONE,
) -> list[Score]:
    """Write each case's label map into the run folder and score it against its reference.

    Each case is the work of one of the processes; all get the scores.
    """
    with progress_bar("Evaluating", len(processes.share(cases))) as advance:

        def evaluate(case: Case) -> list[dict[str, Any]]:
            volume, reference = read_case(case, task)
            predicted = segmenter(volume)
            write_label_map(run_folder.prediction_path(run, case.id), predicted, like=case.image)
            scores = score_case(
                case.id,
                predicted,
                reference.voxels,
                spacing=volume.spacing,
                voxel_mm3=volume.voxel_mm3,
                targets=task.targets_in(case),
                ignore=task.ignore,
                metrics=metrics,
            )
            advance(note=case.id)
            return [asdict(score) for score in scores]

        found = processes.over(cases, evaluate)
    return [Score(**score) for scores in found for score in scores]
