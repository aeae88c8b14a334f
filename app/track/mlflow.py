"""The tracker of track=mlflow: a run of an MLflow experiment in a local SQLite store."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.core import run_folder
from app.core.files import writing
from app.core.optional import require_packages
from app.track.facts import run_results, run_settings
from app.track.pictures import case_pictures
from app.train.metrics_csv import MetricsRow

_FOLDER = "run_folder"
_AT_ONCE = 100  # entries that MLflow accepts in one call


class Mlflow:
    """A tracker that sends curves, parameters, results, pictures and the report to an MLflow run."""

    def __init__(self, run: Path, *, resumed: bool, folder: str, experiment: str) -> None:
        """Begin a run in the store below `folder`, or continue the run of this run folder.

        Raises:
            InputError: MLflow is not installed.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would send usage data over the network
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else it logs each table that it creates
        require_packages("track=mlflow", "mlflow")
        from mlflow import MlflowClient

        store = Path(folder).resolve()
        with writing(store):
            store.mkdir(parents=True, exist_ok=True)
        self._run = run
        self._client = MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
        self._id = self._open(experiment, store, resumed)
        self._sent = self._known_step() if resumed else -1

    def follow(self, history: Sequence[MetricsRow]) -> None:
        """Send the rows that are new."""
        for row in history:
            step = int(row["step"] or 0)
            if step > self._sent:
                self._log({name: value for name, value in row.items() if name != "step"}, step)
                self._sent = step

    def finish(self) -> None:
        """Send parameters, results, pictures of cases and the report, and end the run."""
        from mlflow.entities import Param

        params = [Param(_key(name), str(value)) for name, value in run_settings(self._run).items()]
        for first in range(0, len(params), _AT_ONCE):
            self._client.log_batch(self._id, params=params[first : first + _AT_ONCE])
        self._log(run_results(self._run), max(self._sent, 0))
        for name, picture in case_pictures(self._run):
            self._client.log_image(self._id, picture, artifact_file=f"cases/{name}.png")
        for name in (run_folder.CONFIG, run_folder.SUMMARY, run_folder.REPORT):
            if (self._run / name).is_file():
                self._client.log_artifact(self._id, str(self._run / name))
        self._client.set_terminated(self._id)

    def _open(self, name: str, store: Path, resumed: bool) -> str:
        known = self._client.get_experiment_by_name(name)
        place = (store / "artifacts" / name).as_uri()
        experiment = known.experiment_id if known else self._client.create_experiment(name, place)
        here = str(self._run.resolve())
        found = self._client.search_runs([experiment], f"tags.{_FOLDER} = '{here}'") if resumed else []
        if found:
            return str(found[0].info.run_id)
        made = self._client.create_run(experiment, run_name=self._run.name, tags={_FOLDER: here})
        return str(made.info.run_id)

    def _known_step(self) -> int:
        steps = [metric.step for metric in self._client.get_metric_history(self._id, "train_loss")]
        return max(steps, default=-1)

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        known = {_key(name): value for name, value in values.items() if value is not None}
        metrics = [Metric(name, value, now, step) for name, value in known.items()]
        self._client.log_batch(self._id, metrics=metrics)


def _key(name: str) -> str:
    """Return a name with only the characters that MLflow accepts."""
    return re.sub(r"[^\w./ -]", "_", name)
