"""The columns that divide scores into strata."""

import logging
from pathlib import Path

import pytest

from app.cli.config.settings import read_settings, section_values
from app.cli.config.strata import read_strata
from app.cli.config.task import TaskSettings
from app.core.task import Case, Task
from tests.support.config import composed


def settings(*words: str) -> TaskSettings:
    return read_settings(
        TaskSettings, section_values(composed("task=decathlon", "task.folder=.", *words).task), "task"
    )


def test_cases_without_a_stratum_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sites.csv").write_text("case;site\na;north\nb.nii.gz;south\nc;\n")
    cases = tuple(Case(name, Path(name), None) for name in "abc")
    task = Task("t", ("CT",), ("background", "organ"), cases)
    with caplog.at_level(logging.WARNING):
        found = read_strata(task, settings(f"task.strata={tmp_path / 'sites.csv'}"), "abc")
    assert found == {"site": {"a": "north", "b.nii.gz": "south"}}
    assert "2 of 3" in caplog.text and caplog.text.rstrip().endswith("b, c")
    caplog.clear()
    read_strata(task, settings(f"task.strata={tmp_path / 'sites.csv'}"), "a")
    assert read_strata(task, settings(), "abc") == {} and not caplog.text
