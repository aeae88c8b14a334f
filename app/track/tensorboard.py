"""The tracker of track=tensorboard: event files in run folders, for `tensorboard --logdir runs`."""

from collections.abc import Sequence
from pathlib import Path

from app.core import run_folder
from app.core.optional import require_packages
from app.track.facts import run_results, run_settings
from app.track.pictures import case_pictures
from app.train.metrics_csv import MetricsRow


class TensorBoard:
    """A tracker that writes curves by step, then settings, results and pictures of notable cases."""

    def __init__(self, run: Path, *, resumed: bool) -> None:
        """Open the run's event file; a run that resumes replaces the events written before.

        Raises:
            InputError: TensorBoard is not installed.
        """
        require_packages("track=tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._run = run
        self._writer = SummaryWriter(run, purge_step=0 if resumed else None)
        self._sent = 0

    def follow(self, history: Sequence[MetricsRow]) -> None:
        """Write the rows that are new."""
        for row in history[self._sent :]:
            for name, value in row.items():
                if name != "step" and value is not None:
                    self._writer.add_scalar(_tag(name), value, int(row["step"] or 0))
        self._sent = len(history)
        self._writer.flush()

    def finish(self) -> None:
        """Write the configuration, the settings and results, and pictures of cases."""
        config = (self._run / run_folder.CONFIG).read_text(encoding="utf-8")
        self._writer.add_text("config", "    " + config.replace("\n", "\n    "))
        for name, picture in case_pictures(self._run):
            self._writer.add_image(f"cases/{name}", picture, dataformats="HWC")
        self._writer.add_hparams(run_settings(self._run), run_results(self._run), run_name=".")
        self._writer.close()


def _tag(name: str) -> str:
    """Return a tag that groups the labels of one figure: val_dice_liver -> val_dice/liver."""
    return name.replace("val_dice_", "val_dice/", 1)
