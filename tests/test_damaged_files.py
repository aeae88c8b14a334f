"""Files with damaged headers of every format end in a result or one clear line."""

from pathlib import Path

import pytest

from tests.support.fuzz import fuzz
from tests.support.sound import sound_files

EACH = 12  # files of each kind: 20 s on one core; python -m tests.benchmarks.fuzz takes as long as it is told


@pytest.mark.e2e
def test_a_damaged_file_ends_in_a_result_or_one_line(tmp_path: Path) -> None:
    sounds = sound_files(tmp_path / "sound")
    tally = fuzz(sounds, tmp_path / "damaged", first=0, files=EACH * len(sounds))
    assert not tally.faults, tally.faults[0]
    assert 0.1 < tally.read / tally.files < 0.9  # neither harmless nor hopeless
