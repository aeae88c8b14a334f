"""Links among scans and slices are followed, and those that lead nowhere or back are not lost in silence."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from app.core.errors import InputError
from app.io.links import files_below, leads_back, leads_nowhere
from app.io.privacy import known_as
from app.io.scan_paths import scan_files
from app.io.volumes import read_volume
from tests.support.volumes import write_series

VOXELS = np.random.default_rng(0).integers(0, 1000, (4, 4, 5), dtype=np.int16)


def linked(link: Path, target: Path) -> Path:
    """A link to a file or folder; systems that allow none skip the test."""
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("links are not allowed here")
    return link


def test_files_are_found_behind_links_and_in_no_circle(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a").touch()
    top = tmp_path / "top"
    linked(top / "series", tmp_path / "archive")
    linked(top / "self", top)
    linked(top / "lost", tmp_path / "missing")
    (top / "b").touch()
    (top / ".hidden").touch()
    assert files_below(top) == [top / "b", top / "series" / "a"]
    assert leads_back(top / "self") and not leads_back(top / "series")
    assert leads_nowhere(top / "lost") and not leads_nowhere(top / "b")


def test_the_content_of_a_scan_includes_channels_behind_links(tmp_path: Path) -> None:
    """They were left out of its digest: a scan whose links lead to other series counted as unchanged."""
    series = write_series(tmp_path / "archive", VOXELS, np.eye(4))
    scan = linked(tmp_path / "scan" / "T1", series).parent
    assert len(scan_files(scan)) == 5


def test_a_patient_is_not_named_if_the_series_is_behind_a_link(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from tests.support.dicom import save, slices

    series = save(tmp_path / "archive", slices(VOXELS, PatientName="Doe^Jane"))
    scan = linked(tmp_path / "Doe_Jane" / "T1", series).parent
    alias = known_as({scan: scan.name}, anonymous=True)[scan]
    assert alias.telling and "Doe" not in alias.name and "Doe" not in alias.shown


def test_slices_whose_links_lead_nowhere_are_not_left_out(tmp_path: Path) -> None:
    """A series without its last slices looks whole."""
    series = write_series(tmp_path / "archive", VOXELS, np.eye(4))
    scan = tmp_path / "scan"
    for file in series.iterdir():
        linked(scan / file.name, file)
    assert read_volume(scan).voxels.shape == (1, 4, 4, 5)
    last = next(series.glob("*_4.dcm"))
    last.unlink()
    with pytest.raises(InputError, match=last.name) as error:
        read_volume(scan)
    assert str(scan) in str(error.value)
    shutil.rmtree(series)
    with pytest.raises(InputError):
        read_volume(scan)
