"""A training and a prediction where calls are missing that macOS or Windows lack, paths have backslashes and
the console is not UTF-8. This emulates such systems; it is no run on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app.core import machine
from tests.support.cli import HANG, PHANTOM, ROOT

pytestmark = pytest.mark.e2e

WITHOUT = """
import multiprocessing, os, sys
import psutil
for name in ("sched_getaffinity", "sched_setaffinity", "sysconf"):
    if hasattr(os, name):
        delattr(os, name)
sys.modules["resource"] = None
if hasattr(psutil.Process, "cpu_affinity"):
    del psutil.Process.cpu_affinity
multiprocessing.set_start_method("spawn")
from app.cli.shell.command_line import main
main()
"""


def elsewhere(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as on a system without those calls, its console in code page 1252."""
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-c", WITHOUT, *arguments]
    return subprocess.run(
        line, cwd=place, env=environment, capture_output=True, encoding="cp1252", timeout=HANG, check=False
    )


def test_a_training_and_a_prediction_run_without_what_other_systems_lack(tmp_path: Path) -> None:
    places = ("paths.data=my\\data", "paths.cache=my\\cache")
    small = ("train=smoke", "op=cakes", "plan.patch=[16,16,16]", "plan.base_width=4", "plan.max_levels=2")
    done = elsewhere(tmp_path, *PHANTOM, *small, *places, "paths.run=my\\run", "sliding=fast")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "my\\run"
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["peak_rss_mb"] > 0
    done = elsewhere(
        *(tmp_path, "mode=predict", "predict.model=my\\run", "predict.output=my\\masks"),
        "predict.input=my\\data/Task00_Phantom/imagesTr",
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "my\\masks" / "manifest.json").read_text(encoding="utf-8"))
    assert {case["status"] for case in manifest["cases"].values()} == {"written"}


def test_the_machine_is_known_without_what_other_systems_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = machine.memory_bytes()
    assert limited <= psutil.virtual_memory().total and 0.9 * machine.resident_bytes() < machine.peak_bytes()
    monkeypatch.delattr(psutil.Process, "cpu_affinity")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert machine.usable_cores() == tuple(range(os.cpu_count() or 1))
    machine.keep_to_cores([0])  # no effect, no error
    assert machine.peak_bytes() >= machine.resident_bytes() // 2
    monkeypatch.setattr(sys, "platform", "win32")
    assert not machine.keep_freed_memory()
