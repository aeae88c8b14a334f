"""A case of a run, as it is drawn."""

from pathlib import Path

import nibabel
import numpy as np

from app.report.read.runs import read_runs
from app.report.read.scans import read_scan
from tests.support.runs import make_run


def test_scan_is_turned_to_canonical_and_its_first_channel_is_taken(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    scan = read_scan(read_runs([folder])[0], "case_a")
    stored = nibabel.load(folder / "case_a_image.nii.gz").get_fdata()[..., 0]
    np.testing.assert_allclose(scan.image, stored[::-1])
    assert scan.spacing == (1.0, 1.0, 2.5)
    assert scan.reference[12 - 1 - 2, 3, 2] == 1
    assert scan.prediction[12 - 1 - 2, 3, 3] == 1
