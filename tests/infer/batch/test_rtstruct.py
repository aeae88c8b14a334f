"""Structure sets as another program fills them: pydicom for the places, matplotlib for what is inside."""

from pathlib import Path

import matplotlib.path
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from app.core.reading import Reading  # noqa: E402
from app.infer.batch.dicom_sources import scan_frames  # noqa: E402
from app.infer.batch.rtstruct import write_rtstruct  # noqa: E402
from tests.support.dicom import OBLIQUE, TILTED, a_scan, save, save_bare, slices  # noqa: E402

SIZE = (9, 8, 6)


def filled(path: Path, series: Path, number: int) -> np.ndarray:
    """Voxels (i, j, k) by the slices that contours refer to and whether centres are inside a polygon."""
    images = [pydicom.dcmread(file) for file in series.iterdir()]
    images.sort(key=lambda image: image.InstanceNumber)
    place = {image.SOPInstanceUID: k for k, image in enumerate(images)}
    mask = np.zeros(SIZE, dtype=bool)
    (drawn,) = [one for one in pydicom.dcmread(path).ROIContourSequence if one.ReferencedROINumber == number]
    for contour in drawn.ContourSequence:
        k = place[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        corner = np.array(images[k].ImagePositionPatient, float)
        axes = np.array(images[k].ImageOrientationPatient, float).reshape(2, 3)
        from_corner = np.array(contour.ContourData, float).reshape(-1, 3) - corner
        assert np.abs(from_corner @ np.cross(*axes)).max() < 1e-4  # mm off the slice
        pixels = from_corner @ axes.T / np.array(images[k].PixelSpacing, float)[::-1]
        centres = np.argwhere(np.ones(SIZE[:2], dtype=bool))
        mask[:, :, k] |= matplotlib.path.Path(pixels).contains_points(centres).reshape(SIZE[:2])
    return mask


@pytest.mark.parametrize("affine", [OBLIQUE, TILTED])
def test_others_fill_the_same_voxels(tmp_path: Path, affine: np.ndarray) -> None:
    series = save(tmp_path / "a", slices(a_scan(), affine))
    classes = np.random.default_rng(0).integers(0, 2, SIZE).astype(np.uint8)
    classes[1:7, 1:7, 3], classes[3:5, 3:5, 3] = 2, 0
    write_rtstruct(
        tmp_path / "s.dcm", classes, ("background", "腫瘍", "ring"), scan_frames(series, Reading())
    )
    for value in (1, 2):
        np.testing.assert_array_equal(filled(tmp_path / "s.dcm", series, value), classes == value)


def test_series_without_preamble_has_a_structure_set(tmp_path: Path) -> None:
    frames = scan_frames(save_bare(tmp_path / "a", slices(a_scan())), Reading())
    write_rtstruct(tmp_path / "s.dcm", np.ones(SIZE, np.uint8), ("background", "one"), frames)
    (drawn,) = pydicom.dcmread(tmp_path / "s.dcm").ROIContourSequence
    assert len(drawn.ContourSequence) == SIZE[2]


def test_it_names_the_patient_and_what_it_is_of(tmp_path: Path) -> None:
    series = save(tmp_path / "a", slices(a_scan(), SpecificCharacterSet="ISO_IR 100", PatientName="Müller"))
    write_rtstruct(
        tmp_path / "s.dcm", np.zeros(SIZE, np.uint8), ("background", "腫瘍"), scan_frames(series, Reading())
    )
    data, source = pydicom.dcmread(tmp_path / "s.dcm"), pydicom.dcmread(next(series.iterdir()))
    assert data.PatientName == "Müller" and data.StudyInstanceUID == source.StudyInstanceUID
    assert [roi.ROIName for roi in data.StructureSetROISequence] == ["腫瘍"]
    reference = data.ReferencedFrameOfReferenceSequence[0]
    (of,) = reference.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert of.SeriesInstanceUID == source.SeriesInstanceUID and len(of.ContourImageSequence) == 6
    assert reference.FrameOfReferenceUID == source.FrameOfReferenceUID
