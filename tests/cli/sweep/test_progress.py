"""The line about a sweep whenever a job ends."""

import re
from pathlib import Path

import pytest

from app.cli.sweep import progress
from app.cli.sweep.progress import progress_line
from app.core.sweep import JobRecord, write_record


def test_jobs_that_fail_at_once_are_counted_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "progress_shown", lambda: True)
    names, record = ("a", "b", "c"), JobRecord("0", ())
    write_record(tmp_path / "a", record.now("done", seconds=1.0))
    with progress_line(tmp_path, names):
        for name in names[1:]:
            write_record(tmp_path / name, record.now("failed", error="no"))
    counts = [re.findall(r"\d+ of \d+|\d+ failed", line) for line in capsys.readouterr().err.splitlines()]
    assert counts == [["1 of 3", "1 failed"], ["1 of 3", "2 failed"]]
