"""mode=predict beside other commands and files."""

from pathlib import Path

import pytest

from app import run
from app.core.errors import InputError
from app.core.lock import LOCK, locked

MODEL = Path(__file__).parents[3] / "docs" / "models" / "phantom"

pytestmark = pytest.mark.e2e


def test_of_two_commands_that_write_into_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    """Each wrote manifest.json and volumes_ml.csv without the scans of the other."""
    output, scan = tmp_path / "out", tmp_path / "a.nii.gz"
    scan.touch()
    words = ("mode=predict", f"predict.model={MODEL}", f"predict.input={scan}", f"predict.output={output}")
    with locked(output):
        with pytest.raises(InputError, match="is in use"):
            run(*words)
        assert [path.name for path in output.iterdir()] == [LOCK]
    with pytest.raises(InputError, match="1 of 1 scans"):  # the file is empty
        run(*words)
    assert {path.name for path in output.iterdir()} == {"manifest.json", "volumes_ml.csv"}
