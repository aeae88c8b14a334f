"""run.py under torchrun, with two processes on the CPU, against the same command in one process."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_run import PHANTOM, ROOT

from app.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from app.train.processes import Processes

PYTHON = (sys.executable,)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2")
SMALL = (
    *("train=smoke", "infer=fast", "optimizer=sgd", "plan.batch=2", "train.accumulate=2"),
    *("plan.patch=[16,16,16]", "plan.base_width=4", "plan.max_levels=2"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


def call(place: Path, starter: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(place, starter, *arguments)
    try:
        stdout, stderr = process.communicate(timeout=600)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def start(place: Path, starter: tuple[str, ...], *arguments: str) -> subprocess.Popen[str]:
    """As from a terminal: all processes in one group."""
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
def test_two_processes_train_as_one_does_and_go_on_where_they_stopped(place: Path) -> None:
    """Asked to stop after the first epoch, then resumed as if it had been killed there.

    Losses, validation and weights are those of one.
    """
    one, two = place / "one", place / "two"
    assert call(place, PYTHON, f"paths.run={one}").returncode == 0
    two.mkdir()
    (two / "stop").touch()
    done = call(place, TORCHRUN, f"paths.run={two}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ended by request") == 1 and "Warning" not in done.stderr, done.stderr
    stopped = read_checkpoint(two / "last.pt")
    assert stopped.training["step"] == 2
    going_on = replace(stopped, training={**stopped.training, "requested": False})
    write_checkpoint(two / "last.pt", going_on)
    done = call(place, TORCHRUN, f"train.resume={two}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("going on at step 2 of 4") == 1
    wanted, found = (read_checkpoint(folder / "last.pt") for folder in (one, two))
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
def test_interrupted_from_the_terminal_processes_keep_one_checkpoint(place: Path) -> None:
    folder = place / "interrupted"
    process = start(place, TORCHRUN, "train.steps=100000", f"paths.run={folder}")
    limit = time.monotonic() + 300
    while not (folder / "last.pt").is_file() and time.monotonic() < limit:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, message = process.communicate(timeout=120)
    step = read_checkpoint(folder / "last.pt").training["step"]
    assert message.count(f"interrupted at step {step}; go on with train.resume={folder}") == 1, message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan.batch=3"], "error: plan.batch: got 3, wanted a multiple of 2, the number of processes"),
        (["train.step=3"], "error: train.step: there is no such name"),
        (["mode=plan"], "error: mode=plan: runs in one process"),
        (["sweep=smoke"], "error: a sweep: runs in one process"),
    ],
)
def test_a_user_error_is_told_once(place: Path, arguments: list[str], message: str) -> None:
    done = call(place, TORCHRUN, f"paths.run={place / 'wrong'}", *arguments)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == done.stderr.count(message) == 1, done.stderr


@pytest.mark.slow
def test_what_goes_wrong_in_one_process_ends_all_and_is_told_once(place: Path) -> None:
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
