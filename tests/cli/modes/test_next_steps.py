"""What a training says at its end."""

import shlex
from dataclasses import replace
from pathlib import Path

from app.cli.modes.next_steps import command, next_steps, on_task
from app.core.task import Task

RUN = Path("runs") / "phantom" / "2026-01-31_12-00-00"
SCAN = Path("data") / "Task00_Phantom" / "imagesTr" / "phantom_001.nii.gz"


def words_of(text: str, start: str) -> list[str]:
    """Return the words of the command that follows a line, as a shell reads them."""
    lines = text[text.index(start) :].splitlines()[1:]
    ends = next(i for i, line in enumerate(lines) if not line.endswith("\\"))
    return shlex.split("\n".join(lines[: ends + 1]))


def test_the_prediction_is_a_whole_command_in_100_columns() -> None:
    text = next_steps(RUN, RUN / "report.html", SCAN)
    assert max(map(len, text.splitlines())) <= 100
    assert str(RUN / "report.html") in text and "task.folder=" in text
    words = words_of(text, "predict on a scan")
    assert words[:3] == ["python", "run.py", "mode=predict"]
    assert {f"predict.model={RUN}", f"predict.input={SCAN}"} < {*words}


def test_own_data_gets_a_place_for_its_scan_and_quotes_for_spaces() -> None:
    text = next_steps(Path("my runs"), Path("report.html"), None)
    assert "'predict.model=my runs'" in text and "predict.input=<scan or folder>" in text
    assert "task.folder" not in text


def test_commands_that_are_proposed_can_be_pasted() -> None:
    task = Task("T", ("CT",), ("background", "a"), (), folders=(Path("/my data/größe"),))
    line = command(*on_task("decathlon", task), "op.layout=/my runs/layout.yaml", "predict.input=<scans>")
    assert shlex.split(line.replace("<scans>", "scans")) == [
        *("python", "run.py", "task=decathlon", "task.folder=/my data/größe"),
        *("op.layout=/my runs/layout.yaml", "predict.input=scans"),
    ]
    assert on_task("hippocampus", task) == ("task=hippocampus",)
    several = replace(task, folders=(Path("/a"), Path("/b")))
    assert on_task("decathlon", several)[1] == "task.folder=[/a,/b]"
