"""Prepared cases are copied to a local disk once, and read there."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from app.core.errors import InputError
from app.data.prepare.cache import Cache
from app.data.sets.decathlon import read_task
from tests.support.config import plan_for
from tests.support.volumes import MakeTask


def test_cases_are_copied_whole_and_once(make_task: MakeTask, tmp_path: Path) -> None:
    task = read_task(make_task(cases=3))
    far = Cache(tmp_path / "far", task, workers=1)
    plan = plan_for(far, task)
    there = far.prepare(plan)
    near = Cache(tmp_path / "far", task, workers=1, scratch=tmp_path / "near").prepare(plan)
    for name, case in near.items():
        assert case.folder.is_relative_to(tmp_path / "near")
        assert case.folder.relative_to(tmp_path / "near") == there[name].folder.relative_to(tmp_path / "far")
        assert np.array_equal(case.image().whole(), there[name].image().whole())
        (case.folder / "mark").touch()
    assert not list((tmp_path / "near").rglob(".*"))
    again = Cache(tmp_path / "far", task, workers=1, scratch=tmp_path / "near").prepare(plan)
    assert all((case.folder / "mark").exists() for case in again.values())


def test_a_disk_without_room_is_refused(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = read_task(make_task(cases=3))
    plan = plan_for(cache := Cache(tmp_path / "far", task, workers=1), task)
    cache.prepare(plan)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5))
    with pytest.raises(InputError, match=r"paths\.scratch") as error:
        Cache(tmp_path / "far", task, workers=1, scratch=tmp_path / "near").prepare(plan)
    assert re.search(r"\b3\b", str(error.value)) and not list((tmp_path / "near").iterdir())


def test_processes_prepare_their_shares(make_task: MakeTask, tmp_path: Path) -> None:
    task = read_task(make_task(cases=5))
    cache = Cache(tmp_path / "cache", task, workers=1)
    plan = plan_for(cache, task)
    made = cache.fill(plan, mine=lambda cases: cases[1::2])
    assert [case.folder.is_dir() for case in made.values()] == [False, True, False, True, False]
    cache.fill(plan, mine=lambda cases: cases[::2])
    assert all(case.folder.is_dir() for case in made.values())
