"""The files of a sweep: written and read back, and broken ones refused."""

import re
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.sweep import (
    JOB,
    SWEEP,
    JobRecord,
    Sweep,
    SweepJob,
    read_record,
    read_sweep,
    write_record,
    write_sweep,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert (read_sweep(tmp_path), read_record(tmp_path)) == (None, None)
    sweep = Sweep("operators", "dense", (SweepJob("dense+seed-0", "dense", ("op=conv3d", "seed=0")),))
    record = JobRecord("12ab", ("op=conv3d",)).now("failed", error="out of memory")
    write_sweep(tmp_path, sweep)
    write_record(tmp_path, record)
    assert (read_sweep(tmp_path), read_record(tmp_path)) == (sweep, record)


@pytest.mark.parametrize("text", ["[]", "3", '{"hash": 1}', '{"overrides": [], "what": 1}', "{"])
def test_broken_files_are_refused_by_name(tmp_path: Path, text: str) -> None:
    for name, read in ((SWEEP, read_sweep), (JOB, read_record)):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=re.escape(str(tmp_path / name))):
            read(tmp_path)
