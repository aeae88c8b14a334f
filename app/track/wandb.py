"""The tracker of track=wandb: a run of a Weights & Biases project, stored locally or sent to their server."""

import os
from collections.abc import Sequence
from pathlib import Path

from app.core import run_folder
from app.core.digest import digest_of
from app.core.errors import InputError
from app.core.files import writing
from app.core.optional import require_packages
from app.track.facts import run_results, run_settings
from app.track.pictures import case_pictures
from app.train.metrics_csv import MetricsRow

_MODES = ("offline", "online")


class Wandb:
    """A tracker that sends curves, settings, results, pictures and the report to a Weights & Biases run."""

    def __init__(self, run: Path, *, resumed: bool, folder: str, project: str, mode: str) -> None:
        """Begin a run, or continue the one of this run folder; its id is derived from the folder's path.

        Raises:
            InputError: wandb is not installed, the mode is unknown, or the run cannot begin (no login).
        """
        if mode not in _MODES:
            raise InputError(f"track.mode: got {mode!r}, wanted one of {', '.join(_MODES)}")
        require_packages("track=wandb", "wandb")
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        store = Path(folder).resolve()
        with writing(store):
            store.mkdir(parents=True, exist_ok=True)
        self._run = run
        try:
            self._wandb = wandb.init(
                project=project,
                name=run.name,
                id=digest_of([str(run.resolve())])[:16],
                dir=str(store),
                mode=mode,
                resume="allow" if resumed else None,
                reinit="finish_previous",  # end the run of an earlier job in this process that failed
                # Send neither the machine nor the command line, which contains paths; other trackers do not
                # either.
                settings=wandb.Settings(console="off", save_code=False, x_disable_machine_info=True),
            )
        except (wandb.errors.Error, OSError) as error:
            raise InputError(
                f"track=wandb: {str(error).splitlines()[0]}; log in by wandb login, or set track.mode=offline"
            ) from None
        self._wandb.define_metric("step")
        self._wandb.define_metric("*", step_metric="step")
        self._sent = 0

    def follow(self, history: Sequence[MetricsRow]) -> None:
        """Send the rows that are new; a run that resumes sends its history again, at the same steps."""
        for row in history[self._sent :]:
            self._wandb.log({name: value for name, value in row.items() if value is not None})
        self._sent = len(history)

    def finish(self) -> None:
        """Send settings, results, pictures of cases and the report, and end the run."""
        import wandb

        self._wandb.config.update(run_settings(self._run), allow_val_change=True)
        self._wandb.summary.update(run_results(self._run))
        pictures = {f"cases/{name}": wandb.Image(picture) for name, picture in case_pictures(self._run)}
        if pictures:
            self._wandb.log(pictures)
        for name in (run_folder.CONFIG, run_folder.SUMMARY, run_folder.REPORT):
            if (self._run / name).is_file():
                self._wandb.save(str(self._run / name), base_path=str(self._run), policy="now")
        self._wandb.finish()
