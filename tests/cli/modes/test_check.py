"""mode=check from the command line: what it leaves behind, and its exit codes."""

import csv
import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app.cli.modes.check import run
from app.core.errors import InputError
from tests.support.cli import ROOT, run_py
from tests.support.config import composed
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e

Check = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def check() -> Check:
    """Return a function that runs mode=check on a folder."""

    def call(folder: Path, run: Path, *more: str) -> subprocess.CompletedProcess[str]:
        words = ("mode=check", "task=decathlon", f"task.folder={folder}", f"paths.run={run}", *more)
        return run_py(ROOT, *words)

    return call


def test_described_checked_and_repaired(make_task: MakeTask, tmp_path: Path, check: Check) -> None:
    folder, run = make_task(cases=3), tmp_path / "run"
    (folder / "dataset.json").unlink()
    path = folder / "imagesTr" / "blob_002.nii.gz"
    voxels = nib.load(path).get_fdata(dtype=np.float32)
    voxels[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)

    asked = check(folder, run, "check.write_dataset_json=true")
    assert asked.returncode == 1 and "check.modality" in last_line(asked)

    names = ("check.write_dataset_json=true", "check.modality=[MRI]", "check.labels=[background,blob]")
    faulty = check(folder, run, *names)
    assert faulty.returncode == 1
    for token in ("blob_002", "not_finite", str(run / "check.csv")):
        assert token in last_line(faulty)
    assert "blob_002" in faulty.stdout and "blob_001" not in faulty.stdout
    with (run / "check.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["status"], row["kinds"]) for row in rows] == [
        ("ok", ""),
        ("error", "not_finite"),
        ("ok", ""),
    ]
    page = (run / "check.html").read_text(encoding="utf-8")
    assert page.count('<p class="error">') == 1 and "<script" not in page
    assert rows[1]["findings"] in html.unescape(page)

    repaired = check(folder, run, f"check.repair={tmp_path / 'copy'}")
    assert repaired.returncode == 0, repaired.stderr
    log = (run / "run.log").read_text(encoding="utf-8")
    (warning,) = [line for line in log.splitlines() if " WARNING " in line]
    assert "blob_002" in warning and re.search(r"\b1\b", warning)  # how many voxels were not finite
    copied = nib.load(tmp_path / "copy" / "imagesTr" / "blob_002.nii.gz").get_fdata(dtype=np.float32)
    assert np.isfinite(copied).all()
    assert check(tmp_path / "copy", run).returncode == 0


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line on stderr, once there is no traceback before it."""
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_corrected_label_maps_are_added_once_nothing_is_wrong_with_them(
    make_task: MakeTask, tmp_path: Path, check: Check
) -> None:
    folder, other = make_task(cases=3), make_task(cases=5, name="Task91_Others")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    corrected, inbox = tmp_path / "corrected", tmp_path / "inbox"
    for place, kind in ((corrected, "labels"), (inbox, "images")):
        place.mkdir()
        shutil.copy(other / f"{kind}Tr" / "blob_004.nii.gz", place)
    mask = corrected / "blob_004.nii.gz"
    voxels = np.asarray(nib.load(mask).dataobj)
    add = (f"check.add={corrected}", f"check.scans={inbox}")

    nib.save(nib.Nifti1Image(voxels[1:], np.eye(4)), mask)
    faulty = check(folder, tmp_path / "run", *add)
    assert faulty.returncode == 1 and "blob_004" in last_line(faulty)
    nib.save(nib.Nifti1Image(np.where(voxels == 1, 9, voxels).astype(np.uint8), np.eye(4)), mask)
    faulty = check(folder, tmp_path / "run", *add)
    assert faulty.returncode == 1 and "unknown_labels" in last_line(faulty)
    assert not (folder / "dataset_2.json").exists()

    nib.save(nib.Nifti1Image(voxels, np.eye(4)), mask)
    done = check(folder, tmp_path / "run", *add)
    assert done.returncode == 0, done.stderr
    facts = json.loads((folder / "dataset_2.json").read_text())
    assert [entry.get("id") for entry in facts["training"]] == [None, None, None, "blob_004"]
    assert {path: path.read_bytes() for path in before} == before
    again = check(folder, tmp_path / "run", "task.dataset=dataset_2.json")
    assert again.returncode == 0, again.stderr
    with (tmp_path / "run" / "check.csv").open(encoding="utf-8") as stream:
        assert [row["case"] for row in csv.DictReader(stream)][-1] == "blob_004"


def test_one_modality_is_not_a_list_of_letters() -> None:
    with pytest.raises(InputError, match=r"check\.modality: got 'CT', wanted a list of words"):
        run(composed("mode=check", "check.modality=CT"))
