"""run.py under torchrun, with two processes on the CPU, against the same command in one process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from app.train.machine.processes import Processes
from tests.support.cli import PHANTOM, ROOT

pytestmark = pytest.mark.e2e

PYTHON = (sys.executable,)
HANG = 1800  # seconds after which a command is taken to hang
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2")
SMALL = (
    *("train=smoke", "sliding=fast", "optimizer=sgd", "plan.batch=2", "train.accumulate=2"),
    *("plan.patch=[16,16,16]", "plan.base_width=4", "plan.max_levels=2"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


def call(place: Path, starter: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(place, starter, *arguments)
    try:
        stdout, stderr = process.communicate(timeout=HANG)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def start(place: Path, starter: tuple[str, ...], *arguments: str) -> subprocess.Popen[str]:
    """Start a command as a terminal does: all its processes in one group."""
    new = not any(argument.startswith("train.resume") for argument in arguments)
    places = (f"paths.data={place / 'data'}", f"paths.cache={place / 'cache'}")
    words = (*places, *PHANTOM, *SMALL, *arguments) if new else arguments
    return subprocess.Popen(
        [*starter, str(ROOT / "run.py"), *words],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def history(checkpoint: Checkpoint) -> list[dict[str, float]]:
    return [{**row, "seconds": 0.0} for row in checkpoint.training["history"]]


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_resume_where_they_stopped(place: Path) -> None:
    """Two processes are asked to stop after the first epoch, then resume as if they had been killed there.

    Losses, validation and weights are those of one process. Only the leading process prints.
    """
    one, two = place / "one", place / "two"
    assert call(place, PYTHON, f"paths.run={one}").returncode == 0
    two.mkdir()
    (two / "stop").touch()
    done = call(place, TORCHRUN, f"paths.run={two}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(two / "report.html")) == 1 and "Warning" not in done.stderr, done.stderr
    stopped = read_checkpoint(two / "last.pt")
    assert stopped.training["step"] == 2 and stopped.training["requested"]
    resumed = replace(stopped, training={**stopped.training, "requested": False})
    write_checkpoint(two / "last.pt", resumed)
    done = call(place, TORCHRUN, f"train.resume={two}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(two / "report.html")) == 1
    wanted, found = (read_checkpoint(folder / "last.pt") for folder in (one, two))
    assert found.training["history"][:1] == stopped.training["history"]  # also the seconds: not trained again
    for ours, theirs in zip(history(found), history(wanted), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    torch.testing.assert_close(found.weights, wanted.weights, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.averaged, wanted.averaged, atol=1e-5, rtol=1e-5)
    summaries = [json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in (one, two)]
    assert summaries[1]["dice"] == pytest.approx(summaries[0]["dice"], abs=1e-3)
    assert summaries[1]["samples"] == summaries[0]["samples"] == 16
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    assert len(list((two / "predictions").iterdir())) == len(list((one / "predictions").iterdir()))


@pytest.mark.slow
def test_two_processes_train_two_stages(place: Path) -> None:
    folder = place / "stages"
    done = call(place, TORCHRUN, "plan.stages=2", f"paths.run={folder}")
    assert done.returncode == 0, done.stderr
    located = read_checkpoint(folder / "last.pt").locator
    assert located is not None and min(located.margin_mm) > 0
    assert (folder / "locate" / "last.pt").is_file() and (folder / "summary.json").is_file()


@pytest.mark.slow
def test_interrupted_from_the_terminal_processes_keep_one_checkpoint(place: Path) -> None:
    folder = place / "interrupted"
    process = start(place, TORCHRUN, "train.steps=100000", f"paths.run={folder}")
    limit = time.monotonic() + HANG
    while not (folder / "last.pt").is_file() and time.monotonic() < limit:
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, message = process.communicate(timeout=HANG)
    step = read_checkpoint(folder / "last.pt").training["step"]
    (line,) = [line for line in message.splitlines() if f"train.resume={folder}" in line]
    assert re.search(rf"(?<![\w./-]){step}(?!\w)", line), message  # the step, not a part of the path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "tokens"),
    [
        (["plan.batch=3"], [r"plan\.batch", r"\b3\b", r"\b2\b"]),
        (["train.step=3"], [r"train\.step\b", r"train\.steps\b"]),
        (["mode=plan"], ["mode=plan", r"run\.py", r"\btorchrun\b"]),
        (["sweep=smoke"], [r"\bsweep\b", r"run\.py", r"\btorchrun\b"]),
    ],
)
def test_a_user_error_is_printed_once(place: Path, arguments: list[str], tokens: list[str]) -> None:
    done = call(place, TORCHRUN, f"paths.run={place / 'wrong'}", *arguments)
    assert done.returncode == 1
    (line,) = re.findall(r"^error\b.*$", done.stderr, re.MULTILINE | re.IGNORECASE)
    for token in tokens:
        assert re.search(token, line), f"{token!r} is not in {line!r}"


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_and_is_printed_once(place: Path) -> None:
    assert call(place, PYTHON, f"paths.run={place / 'before'}", "train.steps=1").returncode == 0
    cases = json.loads((place / "before" / "split.json").read_text(encoding="utf-8"))["train"]
    order = np.random.default_rng([0, 1, 0]).permutation(len(cases))  # as the sampler draws them
    of_the_second = [cases[order[place]] for place in Processes(1, 2).places(4, 2)]
    lost = [path for path in (place / "cache").rglob("image.npy") if path.parent.name[:11] in of_the_second]
    assert len(lost) == 2
    for path in lost:
        path.unlink()
    done = call(place, TORCHRUN, f"paths.run={place / 'lost'}")
    assert done.returncode == 1
    assert done.stderr.count("/image.npy") == 1, done.stderr
