"""Prepared cases to draw patches from."""

from pathlib import Path

import pytest

from app.data.prepare.cache import Cache
from app.data.prepare.cached_case import CachedCase
from app.data.sets.decathlon import read_task
from tests.support.config import plan_for
from tests.support.volumes import MakeTask


@pytest.fixture
def cases(make_task: MakeTask, tmp_path: Path) -> list[CachedCase]:
    task = read_task(make_task(cases=5))
    cache = Cache(tmp_path / "cache", task, workers=2)
    return list(cache.prepare(plan_for(cache, task)).values())
