"""Four jobs through every launcher that is installed: the results are those of a serial sweep."""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.config import TINY
from tests.support.volumes import MakeTask

LAUNCHERS = {
    "hydra_joblib_launcher": ("hydra/launcher=cores", "hydra.launcher.n_jobs=2"),
    "hydra_submitit_launcher": ("hydra/launcher=processes",),
    "hydra_ray_launcher": ("hydra/launcher=cluster", "hydra.launcher.ray.init.num_cpus=2"),
}
_TIMES = ("train_seconds",)


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
