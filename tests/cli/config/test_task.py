"""What a task's options make of a data set."""

import pytest

from app.cli.config.settings import read_settings, section_values
from app.cli.config.task import TaskSettings, open_task, with_targets
from app.core.errors import InputError
from app.core.task import Task
from tests.support.config import composed
from tests.support.volumes import MakeTask


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


def test_a_folder_inside_paths_data_is_named_where_it_is_missing(make_task: MakeTask) -> None:
    folder = make_task(cases=1)
    words = ("task=decathlon", f"task.folder={folder.name}", f"paths.data={folder.parent}")
    with pytest.raises(InputError) as error:
        open_task(composed(*words))
    assert str(error.value) == f"task.folder: {folder.name}: no such folder; did you mean {folder}?"
