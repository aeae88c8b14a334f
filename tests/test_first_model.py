"""The model that is part of the documentation segments its scan and a case that it never saw."""

from pathlib import Path

import numpy as np
import pytest

from app.core import run_folder
from app.core.types import Labels
from app.data.sets.phantom import PhantomSettings, generate_phantom
from app.infer.scan.segmenter import Segmenter
from app.io.volumes import load_labels
from app.metrics.overlap import dice_by_target

FOLDER = Path("docs/models/phantom")
LEAST_DICE = 0.75


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load(FOLDER)


def dice(segmenter: Segmenter, scan: Path, reference: Path) -> dict[str, float | None]:
    targets = {name: (value,) for value, name in enumerate(segmenter.labels) if value}
    labels: Labels = np.asarray(load_labels(reference)[0], np.uint8)
    return dice_by_target(segmenter(scan), labels, targets)


def test_it_is_small_and_names_no_folder_of_the_machine_that_trained_it() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2_000_000
    config = (FOLDER / run_folder.CONFIG).read_text(encoding="utf-8")
    assert not [line for line in config.splitlines() if ": /" in line]


def test_dice_on_its_scan_and_on_a_new_patient(segmenter: Segmenter, tmp_path: Path) -> None:
    generate_phantom(tmp_path / "new", settings=PhantomSettings(1, 1, (38, 64, 64), (2.0, 1.2, 1.2)))
    new = [tmp_path / "new" / kind / "phantom_001.nii.gz" for kind in ("imagesTr", "labelsTr")]
    for scan, reference in ((FOLDER / "scan.nii.gz", FOLDER / "reference.nii.gz"), new):
        found = dice(segmenter, scan, reference)
        assert list(found) == ["organ", "vessel", "lesion"]
        assert np.mean([value for value in found.values() if value is not None]) > LEAST_DICE
