"""Sweeps that cannot end well are refused before their first job is launched."""

from pathlib import Path

import pytest

from tests.support.cli import call_here

pytestmark = pytest.mark.e2e


def refusal(
    folder: Path, *words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> str:
    """Return the line that a command ends with, which launches nothing."""
    monkeypatch.setattr("app.cli.sweep.launch.Launching.launch", lambda *_: pytest.fail("launched"))
    assert call_here(*words, f"paths.sweep={folder / 'sweep'}", monkeypatch=monkeypatch) == 1
    assert not (folder / "sweep").exists()
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_a_baseline_that_no_group_is_called_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("sweep=rates", "optimizer.lr=0.001,0.004")
    line = refusal(tmp_path, *words, monkeypatch=monkeypatch, capfd=capfd)
    for token in (r"sweep.baseline", "'dense+lr-0.002'", "dense+lr-0.001", "mixed+lr-0.004"):
        assert token in line
