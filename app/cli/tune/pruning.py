"""Early stopping of trials that fall behind, by their learning curves and the run's `stop` file."""

from collections.abc import Mapping
from pathlib import Path

from optuna.trial import Trial

from app.core import run_folder
from app.core.files import write_text
from app.report.read.runs import read_metrics


class Pruning:
    """A reporter of new validation Dice values to the study, for the trials in `running` by run folder."""

    def __init__(self, running: Mapping[Path, Trial]) -> None:
        self._running = running
        self.pruned: set[Path] = set()

    def look(self) -> None:
        """Read the curves on disk and ask trials that fall behind to stop."""
        for run, trial in self._running.items():
            reported = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
            for step, dice in _curve(run):
                if step not in reported:
                    trial.report(dice, step)
            if run not in self.pruned and trial.should_prune():
                self.pruned.add(run)
                write_text(run / run_folder.STOP, "")


def _curve(run: Path) -> list[tuple[int, float]]:
    """Return the steps and mean validation Dice so far."""
    metrics = read_metrics(run / run_folder.METRICS) or {}
    rows = zip(metrics.get("step", []), metrics.get("val_dice_mean", []), strict=True)
    return [(int(step), dice) for step, dice in rows if step is not None and dice is not None]
