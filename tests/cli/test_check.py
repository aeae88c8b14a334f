"""mode=check from the command line: what it leaves behind, and its exit codes."""

import csv
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from conftest import MakeTask


def check(folder: Path, run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "run.py", "mode=check", "task=decathlon", f"task.folder={folder}"]
    return subprocess.run(
        [*command, f"paths.run={run}", *more],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def test_described_checked_and_repaired(make_task: MakeTask, tmp_path: Path) -> None:
    folder, run = make_task(cases=3), tmp_path / "run"
    (folder / "dataset.json").unlink()
    path = folder / "imagesTr" / "blob_002.nii.gz"
    voxels = nib.load(path).get_fdata(dtype=np.float32)
    voxels[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)

    asked = check(folder, run, "check.write_dataset_json=true")
    assert asked.returncode == 1 and "error: check.modality: not set" in asked.stderr

    names = ("check.write_dataset_json=true", "check.modality=[MRI]", "check.labels=[background,blob]")
    faulty = check(folder, run, *names)
    assert faulty.returncode == 1 and "1 errors found: blob_002 not_finite" in faulty.stderr
    assert "Traceback" not in faulty.stderr
    with (run / "check.csv").open(encoding="utf-8") as stream:
        assert [row["status"] for row in csv.DictReader(stream)] == ["ok", "error", "ok"]
    page = (run / "check.html").read_text(encoding="utf-8")
    assert "got 1 NaN or infinite voxels" in page and "<script" not in page

    repaired = check(folder, run, f"check.repair={tmp_path / 'copy'}")
    assert repaired.returncode == 0, repaired.stderr
    assert "blob_002: got 1 NaN or infinite voxels, background in the copy" in repaired.stdout
    assert check(tmp_path / "copy", run).returncode == 0
