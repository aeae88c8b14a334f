"""Each task of the Decathlon composes, is planned and trains two steps on data that look like its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from monai.apps.datasets import DecathlonDataset
from omegaconf import OmegaConf

from app.core import run_folder
from app.core.plan import read_plan
from tests.support.stand_ins import STAND_INS, write_stand_in

pytestmark = pytest.mark.e2e

TINY = (
    "train=smoke",
    "train.steps=2",
    "folds=2",
    "sliding=fast",
    "plan.base_width=4",
    "plan.max_patch_voxels=16000",
)
THICK = {"prostate", "hepaticvessel", "pancreas", "spleen", "colon"}


@pytest.mark.parametrize("name", STAND_INS)
def test_archives_are_those_monai_publishes(name: str) -> None:
    folder = STAND_INS[name].folder
    task = OmegaConf.to_container(OmegaConf.load(f"conf/task/{name}.yaml"), resolve=False)
    assert isinstance(task, dict) and task["folder"] == f"${{paths.data}}/{folder}"
    assert task["archive"]["url"] == DecathlonDataset.resource[folder]
    assert task["archive"]["checksum"] == f"md5:{DecathlonDataset.md5[folder]}"


@pytest.mark.slow
@pytest.mark.parametrize("name", STAND_INS)
def test_a_task_of_the_decathlon_trains(name: str, tmp_path: Path) -> None:
    facts = STAND_INS[name]
    write_stand_in(tmp_path, facts, cases=4)
    places = (f"paths.data={tmp_path}", f"paths.cache={tmp_path / 'cache'}", f"paths.run={tmp_path / 'run'}")
    done = subprocess.run(
        [sys.executable, "run.py", f"task={name}", *TINY, *places],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / run_folder.SUMMARY).read_text(encoding="utf-8"))
    targets = ("whole", "core", "enhancing") if name == "braintumour" else facts.labels
    assert tuple(summary["dice"]) == targets and summary["steps"] == 2
    plan, _ = read_plan(tmp_path / "run" / run_folder.PLAN)
    schemes = [channel.scheme for channel in plan.normalisation]
    assert [scheme == "ct" for scheme in schemes] == [modality == "CT" for modality in facts.modalities]
    assert (plan.kernels[0] == (1, 3, 3)) == (name in THICK)
