"""Commands of tests, in this process."""

from pathlib import Path

import pytest

from tests.support.cli import Call, call_on_blobs
from tests.support.volumes import MakeTask


@pytest.fixture
def call(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    """Return a function that gives the exit code and the last line on stderr of `python run.py`."""
    make_task()

    def run(*overrides: str) -> tuple[int, str]:
        resumes = any(word.startswith("train.resume") for word in overrides)
        place = () if resumes else (f"paths.run={tmp_path / 'run'}",)
        if not (code := call_on_blobs(tmp_path, *place, *overrides, monkeypatch=monkeypatch)):
            return 0, ""
        told = capfd.readouterr().err
        assert "Traceback" not in told
        return code, told.strip().splitlines()[-1]

    return run
