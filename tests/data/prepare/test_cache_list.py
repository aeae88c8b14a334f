from pathlib import Path

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
