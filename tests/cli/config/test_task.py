"""What a task's options make of a data set."""

import pytest

from app.cli.config.settings import read_settings, section_values
from app.cli.config.task import TaskSettings, with_targets
from app.core.errors import InputError
from app.core.task import Task
from tests.support.config import composed


def settings(*words: str) -> TaskSettings:
    return read_settings(
        TaskSettings, section_values(composed("task=decathlon", "task.folder=.", *words).task), "task"
    )


def test_tubes_are_labels_or_regions_of_the_task() -> None:
    pytest.importorskip("skimage")
    task = Task("t", ("CT",), ("background", "vessel", "organ"), ())
    assert with_targets(task, settings("task.tubes=[vessel]")).tubes == ("vessel",)
    regions = "task.regions={tree: [1], rest: [2]}"
    assert with_targets(task, settings("task.tubes=[tree]", regions)).tubes == ("tree",)
    with pytest.raises(InputError, match=r"task\.tubes.*vein.*vessel, organ"):
        with_targets(task, settings("task.tubes=[vein]"))
