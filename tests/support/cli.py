"""run.py as a user calls it."""

import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.core import progress
from tests.support.config import TINY

Call = Callable[..., tuple[int, str]]
"""The exit code and the last line on stderr, of overrides."""


@contextmanager
def no_room(size: int = 0) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: writing fails as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


ROOT = Path(__file__).parents[2]


PHANTOM = ("task.phantom.cases=10", "task.phantom.size=[20,24,24]", "task.phantom.spacing=[4,3,3]")


HANG = 1800  # seconds after which a command is taken to hang


def command(place: Path, *arguments: str) -> list[str]:
    places = (f"paths.data={place / 'data'}", f"paths.cache={place / 'cache'}")
    phantom = () if any(argument.startswith("task=") for argument in arguments) else PHANTOM
    return [sys.executable, str(ROOT / "run.py"), *places, *phantom, *arguments]


def call(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_py(place, *command(place, *arguments)[2:])


def run_py(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ROOT / "run.py"), *arguments]
    return subprocess.run(
        line, cwd=place, capture_output=True, text=True, encoding="utf-8", timeout=HANG, check=False
    )


def call_on_blobs(folder: Path, *overrides: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `python run.py` on the blobs in `folder`."""
    places = (f"task.folder={folder / 'Task90_Blobs'}", f"paths.cache={folder / 'cache'}")
    resumes = any(word.startswith("train.resume") for word in overrides)
    given = {word.split("=")[0] for word in overrides}
    tiny = [word for word in TINY if word.split("=")[0] not in given]
    return call_here(*overrides, *(() if resumes else (*tiny, *places)), monkeypatch=monkeypatch)


def call_here(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `python run.py <words>` in this process; progress bars stay as they were."""
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    level = progress.log.level
    try:
        runpy.run_path("run.py", run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        progress.log.setLevel(level)
    return 0


def assert_refused(done: subprocess.CompletedProcess[str], *tokens: str) -> None:
    """Exit code 1 and one line of error, in which each of the regular expressions is found."""
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    (line,) = re.findall(r"^error\b.*$", done.stderr, re.MULTILINE | re.IGNORECASE)
    for token in tokens:
        assert re.search(token, line), f"{token!r} is not in {line!r}"


def whole_numbers(line: str) -> list[str]:
    """Return the whole numbers in a line, without those that are part of a path or of a fraction."""
    return re.findall(r"(?<![\w./-])\d+(?!\w|\.\d)", line)
