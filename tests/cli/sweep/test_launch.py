"""Four jobs through every launcher that is installed: the results are those of a serial sweep."""

import csv
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

from app.cli.sweep.jobs import Job
from app.cli.sweep.launch import Launching, launch_in_order
from app.core.errors import InputError
from app.core.sweep import JobRecord, write_record
from tests.support.config import TINY
from tests.support.volumes import MakeTask

LAUNCHERS = {
    "hydra_joblib_launcher": ("hydra/launcher=cores", "hydra.launcher.n_jobs=2"),
    "hydra_submitit_launcher": ("hydra/launcher=processes",),
    "hydra_ray_launcher": ("hydra/launcher=cluster", "hydra.launcher.ray.init.num_cpus=2"),
}
_TIMES = ("train_seconds",)


def test_a_job_whose_folder_is_removed_while_the_sweep_runs_is_named(tmp_path: Path) -> None:
    job = Job("dense", {"op": "conv3d"}, ())
    write_record(tmp_path / job.name, JobRecord("hash", job.described))

    class Removing(Launching):
        def launch(self, overrides: Sequence[Sequence[str]], first: int) -> str | None:
            shutil.rmtree(tmp_path / job.name)
            return None

    config = OmegaConf.create({"hydra": {"sweep": {"dir": "elsewhere"}}})
    launching = Removing(config, cast(Any, None), cast(Any, None))
    with pytest.raises(InputError, match=str(tmp_path / job.name)):
        launch_in_order(launching, tmp_path, [job], [job])


@pytest.mark.slow
def test_every_launcher_gives_the_results_of_a_serial_sweep(tmp_path: Path, make_task: MakeTask) -> None:
    installed = [plugin for plugin in LAUNCHERS if importlib.util.find_spec(f"hydra_plugins.{plugin}")]
    if not installed:
        pytest.skip("no launcher is installed")
    make_task()
    serial = results(tmp_path, "serial")
    assert [(row["run"], row["state"]) for row in serial] == [
        *(("op-conv3d+seed-0", "done"), ("op-conv3d+seed-1", "done")),
        *(("op-cakes+seed-0", "done"), ("op-cakes+seed-1", "done")),
    ]
    assert len({row["mean_dice"] for row in serial}) == 4
    for plugin in installed:
        assert results(tmp_path, plugin, *LAUNCHERS[plugin]) == serial, plugin


def results(folder: Path, name: str, *launcher: str) -> list[dict[str, str]]:
    """Return the rows of results.csv without the times; a separate process leaves no workers behind."""
    places = (f"paths.cache={folder / 'cache'}", f"paths.sweep={folder / name}")
    jobs = ("op=conv3d,cakes", "seed=0,1", f"task.folder={folder / 'Task90_Blobs'}")
    subprocess.run([sys.executable, "run.py", "-m", *jobs, *TINY, *places, *launcher], check=True)
    with (folder / name / "results.csv").open(newline="", encoding="utf-8") as file:
        return [
            {key: value for key, value in row.items() if key not in _TIMES} for row in csv.DictReader(file)
        ]
