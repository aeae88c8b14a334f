"""The configuration of a run that is resumed, also one that an older version wrote."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from app.cli.config.folders import _fresh_folder
from app.cli.config.run_config import adopted_config, stored_config
from app.cli.config.settings import read_settings
from app.cli.config.task import TaskSettings
from app.core.errors import InputError
from app.data.plan.settings import PlanSettings
from tests.support.config import composed


def test_facts_an_older_version_did_not_know_get_their_defaults(tmp_path: Path) -> None:
    cfg = composed("choices=null", "paths.run=null", "task=hippocampus", "plan.batch=4", "op=cakes")
    values = OmegaConf.to_container(cfg)
    assert isinstance(values, dict)
    values["task"]["steps"] = 2000
    unknown = ("file", "max_batch", "memory_gb", "foreground_share", "steps", "passes", "max_steps")
    for section, keys in (("plan", unknown), ("task", ("regions", "ignore"))):
        for key in keys:
            del values[section][key]
    OmegaConf.save(OmegaConf.create(values), tmp_path / "config.yaml")
    (tmp_path / "last.pt").touch()

    command = composed("choices=null", "paths.run=null", "plan.max_batch=3", "train.steps=7")
    before = OmegaConf.to_yaml(command)
    adopted = adopted_config(command, tmp_path, "compress.model")
    assert OmegaConf.to_yaml(command) == before
    plan = read_settings(PlanSettings, adopted.plan, "plan")
    task = read_settings(TaskSettings, adopted.task, "task")
    assert (plan.batch, plan.max_batch, plan.file, plan.steps) == (4, 3, None, 2000)
    assert task.folder.endswith("Task04_Hippocampus") and task.phantom is None and task.regions is None
    assert adopted.op == cfg.op and adopted.train.steps == 7


def test_two_runs_of_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    assert [_fresh_folder(tmp_path / "12-00-00").name for _ in range(3)] == [
        "12-00-00",
        "12-00-00-2",
        "12-00-00-3",
    ]


@pytest.mark.parametrize("content", [b"a: [", b"- 1\n", b"3\n", b"\xff\xfe", b"a: 1\na: 2\n"])
def test_a_configuration_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.pt").touch()
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.yaml") as error:
        stored_config(tmp_path, "train.resume")
    assert "\n" not in str(error.value)
