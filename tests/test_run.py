"""run.py as a user calls it: train, resume, predict, evaluate, report, and the errors a user meets."""

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from app.models.checkpoint import read_checkpoint
from tests.support.cli import HANG, ROOT, assert_refused, call, command, run_py

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("user")


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    """The folder of a smoke run on a small phantom."""
    done = call(place, "train=smoke", "op=cakes", f"paths.run={place / 'run'}")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return place / "run"


def test_a_run_folder_explains_itself(trained: Path) -> None:
    wanted = {
        *("config.yaml", "environment.json", "fingerprint.json", "plan.yaml", "layout.yaml", "split.json"),
        *(
            "metrics.csv",
            "cases.csv",
            "statistics.json",
            "calibration.json",
            "summary.json",
            "last.pt",
            "best.pt",
            "predictions",
            "report.html",
        ),
        *("run.log", "model_card.md"),
    }
    assert {path.name for path in trained.iterdir()} == wanted
    summary = json.loads((trained / "summary.json").read_text(encoding="utf-8"))
    assert (summary["task"], summary["op"], summary["steps"], summary["samples"]) == (
        "phantom",
        "cakes",
        4,
        8,
    )
    assert set(summary["dice"]) == set(summary["precision"]) == {"organ", "vessel", "lesion"}
    assert summary["dtype"] == "float32"
    held_out = json.loads((trained / "split.json").read_text(encoding="utf-8"))["validation"]
    with (trained / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == set(held_out) and len(rows) == 3 * len(held_out)
    assert sorted(path.name for path in (trained / "predictions").iterdir()) == [
        f"{case}.nii.gz" for case in held_out
    ]


def test_predict_and_evaluate_agree_with_the_run(trained: Path, place: Path) -> None:
    files = json.loads((trained / "split.json").read_text(encoding="utf-8"))["files"]
    held_out = json.loads((trained / "split.json").read_text(encoding="utf-8"))["validation"]
    scans = place / "scans"
    scans.mkdir()
    for case in held_out:
        (scans / Path(files[case]["image"]).name).symlink_to(files[case]["image"])
    out = place / "masks"
    predict = (f"predict.model={trained}", f"predict.input={scans}", f"predict.output={out}")
    done = call(place, "mode=predict", *predict, "sliding.mirror_axes=[0,1,2]")
    assert_refused(done, "mirror_axes", r"\[0, 1, 2\]", r"\[2\]")
    done = call(place, "mode=predict", *predict, "augment=none")  # the run's own augmentation counts
    assert done.returncode == 0, done.stderr
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["sliding"]["mirror_axes"] == [2] and set(manifest["cases"]) == set(held_out)
    for case in held_out:
        ours, again = nib.load(out / f"{case}.nii.gz"), nib.load(trained / "predictions" / f"{case}.nii.gz")
        np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(again.dataobj))
        np.testing.assert_array_equal(ours.affine, nib.load(files[case]["image"]).affine)
    written = {path.name: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
    (scans / "broken.nii.gz").write_bytes(b"no scan")
    done = call(place, "mode=predict", *predict)
    assert_refused(done, r"\b1\b", rf"\b{len(held_out) + 1}\b")  # scans without a label map, and all scans
    assert str(scans / "broken.nii.gz") in done.stdout + done.stderr
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")} == written
    labels = Path(files[held_out[0]]["label"]).parent
    folders = (
        f"evaluate.predictions={out}",
        f"evaluate.labels={labels}",
        f"evaluate.output={place / 'eval'}",
        "evaluate.missing=left_out",
    )
    done = call(place, "mode=evaluate", *folders)
    assert done.returncode == 0, done.stderr
    assert (place / "eval" / "cases.csv").read_bytes() == (trained / "cases.csv").read_bytes()
    turned = place / "turned"  # references stored with other axes than the scans: turned as they are read
    turned.mkdir()
    lps = nib.orientations.axcodes2ornt(("L", "P", "S"))
    for case in held_out:
        nib.save(nib.load(files[case]["label"]).as_reoriented(lps), turned / f"{case}.nii.gz")
    done = call(place, "mode=evaluate", folders[0], f"evaluate.labels={turned}", *folders[2:])
    assert done.returncode == 0, done.stderr
    assert (place / "eval" / "cases.csv").read_bytes() == (trained / "cases.csv").read_bytes()


def outcome(folder: Path) -> dict[str, object]:
    """Return what both checkpoints of a run hold, except for the time it took; tensors as bytes."""
    return {name: _timeless(torch.load(folder / name, weights_only=True)) for name in ("last.pt", "best.pt")}


def _timeless(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.cpu().numpy().tobytes())
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in ("seconds", "validation_seconds")}
    return [_timeless(item) for item in value] if isinstance(value, list | tuple) else value


def test_a_run_killed_at_any_moment_resumes(place: Path) -> None:
    """`kill -9` at a random moment after the first checkpoint leaves files from which the run resumes.

    Its end is that of a run without interruption, bit for bit: weights, their average, the optimizer, the
    schedule, random states. What it had trained before is kept, with the seconds that took.
    """
    whole, killed = place / "whole", place / "killed"
    settings = ("train=smoke", "train.steps=12")  # six epochs, of which half are left to a fast machine
    assert call(place, *settings, f"paths.run={whole}").returncode == 0
    process = subprocess.Popen(
        command(place, *settings, f"paths.run={killed}"), cwd=place, stderr=subprocess.DEVNULL
    )
    epochs, pause = random.randint(1, 3), random.uniform(0, 0.3)
    print(f"killed {pause:.3f} s after epoch {epochs}")
    limit = time.monotonic() + HANG
    while _epochs_kept(killed) < epochs and time.monotonic() < limit:
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(pause)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "summary.json").exists()
    kept = read_checkpoint(killed / "last.pt").training["history"]
    done = run_py(place, f"train.resume={killed}")
    assert done.returncode == 0, done.stderr
    assert kept and read_checkpoint(killed / "last.pt").training["history"][: len(kept)] == kept
    assert (killed / "cases.csv").read_bytes() == (whole / "cases.csv").read_bytes()
    assert outcome(killed) == outcome(whole)


def _epochs_kept(folder: Path) -> int:
    """Rows of metrics.csv, of which the last may be younger than the checkpoint."""
    kept = (folder / "last.pt").is_file()
    return len((folder / "metrics.csv").read_text(encoding="utf-8").splitlines()) - 1 if kept else 0


def test_interrupted_by_the_user_a_run_keeps_its_checkpoint(place: Path) -> None:
    folder = place / "interrupted"
    process = subprocess.Popen(
        command(place, "train=smoke", "train.steps=10000", f"paths.run={folder}"),
        cwd=place,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    limit = time.monotonic() + HANG
    while not (folder / "last.pt").is_file() and time.monotonic() < limit:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert message.count(f"train.resume={folder}") == 1
    assert "Traceback" not in message


@pytest.fixture
def two_runs(trained: Path, tmp_path: Path) -> Path:
    """A folder of the runs `run_1` and `run_2`."""
    for name in ("run_1", "run_2"):
        shutil.copytree(trained, tmp_path / "runs" / name)
    return tmp_path / "runs"


def test_many_runs_make_one_page(two_runs: Path, place: Path) -> None:
    page = two_runs.parent / "all.html"
    done = call(place, "mode=report", f"report.runs={two_runs}", f"report.output={page}")
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert all(word in text for word in ("cakes", "run_1", "run_2"))


def test_many_runs_are_timed_together(two_runs: Path, place: Path) -> None:
    done = call(place, "mode=time", f"time.runs={two_runs}")
    assert done.returncode == 0, done.stderr
    head, *rows = (two_runs / "timings.csv").read_text(encoding="utf-8").splitlines()
    assert head == "run,forward_ms,step_ms,machine"
    timed = {name: (float(forward), float(step)) for name, forward, step, _ in csv.reader(rows)}
    assert set(timed) == {"run_1", "run_2"} and min(map(min, timed.values())) > 0


@pytest.mark.parametrize(
    ("arguments", "tokens"),
    [
        (["train.steps=abc"], [r"train\.steps\b", r"\babc\b"]),
        (["train.step=3"], [r"train\.step\b", r"train\.steps\b"]),
        (["task=decathlon", "task.folder=nowhere"], [r"task\.folder", r"\bnowhere\b"]),
        (["op=cakes", "op.kernels=4d"], [r"op\.kernels", r"\b4d\b", r"\b12d\b"]),
        (["mode=predict"], [r"predict\.model"]),
        (["train.resume=nowhere"], [r"train\.resume", r"\bnowhere\b", r"config\.yaml", r"last\.pt"]),
        (["fold=9"], [r"\bfold\b", r"\b9\b", r"\b4\b"]),
    ],
)
def test_a_user_error_is_one_line_with_key_and_value(
    place: Path,
    arguments: list[str],
    tokens: list[str],
) -> None:
    words = command(place, "train=smoke", f"paths.run={place / 'wrong'}", *arguments)[2:]
    done = run_py(place, *words)
    assert_refused(done, *tokens)


def test_quiet_prints_nothing_and_verbose_prints_reasons(place: Path) -> None:
    settings = ("plan.steps=1", "train.epoch_steps=1", "train.validation_cases=1", "sliding=fast")
    quiet = call(place, *settings, "log=quiet", f"paths.run={place / 'quiet'}")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    log = (place / "quiet" / "run.log").read_text(encoding="utf-8")
    mean_dice = json.loads((place / "quiet" / "summary.json").read_text(encoding="utf-8"))["mean_dice"]
    for token in (f"{mean_dice:.4f}", str(place / "quiet" / "report.html")):
        assert token in log
    asked = yaml.safe_load((place / "quiet" / "config.yaml").read_text(encoding="utf-8"))
    assert (asked["plan"]["steps"], asked["train"]["steps"]) == (1, None)
    decided = yaml.safe_load((place / "quiet" / "plan.yaml").read_text(encoding="utf-8"))
    assert decided["steps"]["value"] == 1 and 0.5 <= decided["foreground_share"]["value"] <= 0.67
    assert decided["batch"]["reason"] in log and decided["batch"]["reason"].endswith("GB of memory")
    verbose = call(place, "mode=plan", "log=verbose", "train.steps=7", f"paths.run={place / 'verbose'}")
    plan = yaml.safe_load((place / "verbose" / "plan.yaml").read_text(encoding="utf-8"))
    lines = re.findall(r"^\S+ \S+ app\.\S+ .*$", verbose.stdout, re.MULTILINE)  # time and module first
    for name, value in plan.items():
        assert any(name in line and line.endswith(value["reason"]) for line in lines), name
    assert any(re.search(r" train\.steps.*\b7\b", line) for line in lines)
    size = (place / "verbose" / "plan.yaml").stat().st_size
    assert any(str(place / "verbose" / "plan.yaml") in line and str(size) in line for line in lines)


def test_help_lists_what_can_be_chosen(place: Path) -> None:
    done = call(place, "--help")
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= 100
    listed = dict(re.findall(r"^([a-z_]+): (.+)$", re.sub(r",\n {5,}", ", ", done.stdout), re.MULTILINE))
    for group in ("mode", "op", "task", "experiment"):
        assert listed[group].split(", ") == sorted(
            path.stem for path in (ROOT / "conf" / group).glob("*.yaml")
        )
    assert "train.resume=" in done.stdout


def test_a_trained_network_is_exported_and_its_label_maps_cleaned_up(trained: Path, place: Path) -> None:
    export = (f"export.model={trained}", "export.format=torch", f"export.output={place / 'exported'}")
    done = call(place, "mode=export", *export)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (place / "exported").iterdir()} == {"model.pt2", "preprocessing.json"}
    done = call(place, "mode=cleanup", f"cleanup.runs={trained}")
    assert done.returncode == 0, done.stderr
    evidence = json.loads((trained / "cleanup.json").read_text(encoding="utf-8"))["evidence"]
    assert set(evidence["dice"]) == {"organ", "vessel", "lesion"} and evidence["cases"] == 2
