"""Freed memory that is kept."""

import subprocess
import sys
from pathlib import Path

import pytest

_FAULTS = """
import resource
import numpy as np
from app.core.machine import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
np.ones({megabytes} * 2**20, np.int8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones({megabytes} * 2**20, np.int8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, kept: bool, megabytes: int) -> int:
    """Pages that twenty arrays, each freed before the next, have had to ask for."""
    code = _FAULTS.format(kept=kept, megabytes=megabytes)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_an_array_of_the_same_size_takes_the_pages_of_the_last() -> None:
    assert faults(kept=True, megabytes=64) < 200 < faults(kept=False, megabytes=64)
