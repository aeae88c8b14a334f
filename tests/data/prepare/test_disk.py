import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.core.errors import InputError
from app.core.plan import Normalisation
from app.data.prepare import disk
from app.data.prepare.disk import make_room, prepared_bytes
from app.data.sets.decathlon import read_task
from tests.support.config import PLAN, altered
from tests.support.volumes import MakeTask


def test_room_for_prepared_cases_is_foretold_and_refused(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task = read_task(make_task(cases=2))
    voxels = 19 * 22 * 17 / 3  # of 1 mm, on a grid of 3x1x1 mm
    plan = altered(PLAN, normalisation=(Normalisation("zscore"),))  # type: ignore[arg-type]
    assert prepared_bytes(task.cases[0], plan, task) == round((1.05 * 5 + 16) * voxels)
    clipped = altered(PLAN, normalisation=(Normalisation("ct"),))  # type: ignore[arg-type]
    assert prepared_bytes(task.cases[0], clipped, task) == round((1.05 * 5 + 16) * voxels)  # a small scan
    fine = altered(clipped, spacing=(0.1, 0.1, 0.1))
    many = replace(task, labels=tuple(map(str, range(300))))
    index = 16 * 299 * 10_000
    assert prepared_bytes(task.cases[0], fine, task) == round(1.05 * 3000 * voxels * 3 + 16 * 10_000)
    assert prepared_bytes(task.cases[0], fine, many) == round(1.05 * 3000 * voxels * 4 + index)
    with caplog.at_level(logging.INFO):
        make_room(tmp_path / "not" / "there", task.cases, plan, task)
    assert "2 cases" in caplog.text
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: SimpleNamespace(free=80_000))
    with pytest.raises(InputError, match=r"paths\.cache"):
        make_room(tmp_path, task.cases, plan, task)
    with pytest.raises(InputError, match="90 %"):
        make_room(tmp_path, task.cases, plan, task, share=0.9)
    make_room(tmp_path, task.cases, plan, task, share=0.4)
    make_room(tmp_path, task.cases[:1], plan, task)
