from pathlib import Path
from typing import Any

import pytest

from app.core.errors import InputError
from app.data.prepare.cache import FORMAT, Cache
from app.data.prepare.cache_list import choose_caches, clear_caches, list_caches
from app.data.sets.decathlon import read_task
from tests.support.config import plan_for
from tests.support.volumes import MakeTask


def test_caches_are_listed_and_those_of_earlier_versions_cleared(make_task: MakeTask, tmp_path: Path) -> None:
    task = read_task(make_task(cases=2))
    cache = Cache(tmp_path / "cache", task, workers=1)
    plan = plan_for(cache, task)
    cache.prepare(plan)
    earlier = tmp_path / "cache" / task.name / "0123456789abcdef" / "blob_001-x"
    earlier.mkdir(parents=True)
    (earlier / "image.npy").write_bytes(b"0" * 1000)
    found = list_caches(tmp_path / "cache")
    assert {(entry.task, entry.format, entry.spacing, entry.cases) for entry in found} == {
        (task.name, FORMAT, plan.spacing, 2),
        (task.name, None, None, 1),
    }
    assert clear_caches(choose_caches(found, "earlier", FORMAT)) == 1000
    assert not earlier.exists() and len(list_caches(tmp_path / "cache")) == 1
    with pytest.raises(InputError, match=task.name):
        choose_caches(found, "Task99", FORMAT)
    assert choose_caches(found, task.name, FORMAT) == choose_caches(found, "all", FORMAT) == found
    assert list_caches(tmp_path / "nothing") == []


def test_caches_are_listed_while_another_run_prepares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its temporary folders are no cases, and a file that got its final name meanwhile was a traceback."""
    case = tmp_path / "task" / "0123456789abcdef" / "case-x"
    for folder in (case, case.with_name(".writing")):
        folder.mkdir(parents=True)
        (folder / "image.npy").write_bytes(b"0" * 1000)
    seen, usual = set[Path](), Path.stat

    def vanish(self: Path, **named: Any) -> Any:
        if self in seen:
            raise FileNotFoundError(self)
        if self == case / "image.npy":
            seen.add(self)
        return usual(self, **named)

    monkeypatch.setattr(Path, "stat", vanish)
    (entry,) = list_caches(tmp_path)
    assert (entry.cases, entry.bytes) == (1, 2000)
