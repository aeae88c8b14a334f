"""Segmentations and structure sets as label maps: by name, on the scan's grid, or refused."""

import copy
import logging
from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

from pydicom.uid import DeflatedExplicitVRLittleEndian  # noqa: E402

from app.core.errors import InputError  # noqa: E402
from app.core.reading import Reading  # noqa: E402
from app.infer.batch.dicom_seg import write_dicom_seg  # noqa: E402
from app.infer.batch.dicom_sources import scan_frames  # noqa: E402
from app.infer.batch.rtstruct import write_rtstruct  # noqa: E402
from app.io.dicom_labels import holds_labels, read_classes  # noqa: E402
from app.io.volumes import read_header  # noqa: E402
from tests.support.dicom import OBLIQUE, TILTED, TO_MM, a_scan, enhanced, save, slices  # noqa: E402

NAMES = ("background", "Gefäß", "腫瘍", "lung_upper_lobe_left")
SIZE = (9, 8, 6)
WRITERS = {"seg": write_dicom_seg, "rtstruct": write_rtstruct}


def classes() -> np.ndarray:
    """Random pixels, a ring, a slice and a label without any."""
    found = np.random.default_rng(0).integers(0, 3, SIZE).astype(np.uint8)
    found[:, :, 2] = 0
    found[1:7, 1:7, 3], found[3:5, 3:5, 3] = 1, 2
    return found


def written(folder: Path, scan: Path, kind: str, names: tuple[str, ...] = NAMES) -> Path:
    path = folder / f"{kind}.dcm"
    WRITERS[kind](path, classes(), names, scan_frames(scan, Reading()))
    return path


def read(path: Path, scan: Path, names: tuple[str, ...] = NAMES) -> np.ndarray:
    header = read_header(scan)
    return read_classes(path, names, header.size, header.affine)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("affine", [TO_MM, OBLIQUE, TILTED])
@pytest.mark.parametrize("many", [False, True])
def test_what_is_written_is_read(tmp_path: Path, kind: str, affine: np.ndarray, many: bool) -> None:
    made = slices(a_scan(), affine)
    scan = save(tmp_path / "scan", [enhanced(made, [3, 0, 5, 1, 4, 2])] if many else made[::-1])
    path = written(tmp_path, scan, kind)
    assert holds_labels(path) and not holds_labels(next(scan.iterdir()))
    np.testing.assert_array_equal(read(path, scan), classes())


@pytest.mark.parametrize("kind", WRITERS)
def test_labels_that_are_compressed_as_a_whole(tmp_path: Path, kind: str) -> None:
    scan = save(tmp_path / "scan", slices(a_scan()))
    data = pydicom.dcmread(written(tmp_path, scan, kind))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(tmp_path / "whole.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read(tmp_path / "whole.dcm", scan), classes())


@pytest.mark.parametrize(("labels", "kind"), [(255, "BINARY"), (300, "LABELMAP")])
def test_more_segments_than_a_byte_counts_share_frames(tmp_path: Path, labels: int, kind: str) -> None:
    scan = save(tmp_path / "scan", slices(a_scan()))
    names = ("background", *(f"region {n}" for n in range(1, labels + 1)))
    chosen = np.random.default_rng(0).choice([0, 1, labels - 1, labels], SIZE).astype(np.uint16)
    write_dicom_seg(tmp_path / "seg.dcm", chosen, names, scan_frames(scan, Reading()))
    np.testing.assert_array_equal(read(tmp_path / "seg.dcm", scan, names), chosen)
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    assert data.SegmentationType == kind
    if kind == "LABELMAP":  # a frame for each slice, whose pixels are segment numbers
        pixels = {
            float(groups.PlanePositionSequence[0].ImagePositionPatient[2]): frame
            for groups, frame in zip(data.PerFrameFunctionalGroupsSequence, data.pixel_array, strict=True)
        }
        np.testing.assert_array_equal(np.stack([pixels[z] for z in sorted(pixels)]).T, chosen)
        assert [int(one.SegmentNumber) for one in data.SegmentSequence][-1] == labels


@pytest.mark.parametrize("kind", WRITERS)
def test_labels_are_found_by_name(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    scan = save(tmp_path / "scan", slices(a_scan()))
    path = written(tmp_path, scan, kind)
    with caplog.at_level(logging.INFO):
        found = read(path, scan, ("background", "腫瘍"))
    np.testing.assert_array_equal(found, classes() == 2)
    assert "Gefäß" in caplog.text
    with pytest.raises(InputError, match="liver") as error:
        read(path, scan, ("background", "liver"))
    assert "腫瘍" in str(error.value)


def test_structures_may_have_inner_contours_and_lie_on_slices(tmp_path: Path) -> None:
    scan = save(tmp_path / "scan", slices(a_scan()))
    data = pydicom.dcmread(written(tmp_path, scan, "rtstruct", ("background", "a")))
    corners = np.array([[0.5, 0.5], [6.5, 0.5], [6.5, 6.5], [0.5, 6.5]])
    hole = np.array([[2.5, 2.5], [4.5, 2.5], [4.5, 4.5], [2.5, 4.5]])
    wanted = np.zeros(SIZE, dtype=np.uint8)
    wanted[1:7, 1:7, 3], wanted[3:5, 3:5, 3] = 1, 0
    roi = data.ROIContourSequence[0]
    model = roi.ContourSequence[0]

    def contour(points: np.ndarray, k: float, kind: str) -> object:
        one = copy.deepcopy(model)
        homogeneous = np.column_stack([points, np.full(4, k), np.ones(4)])
        mm = homogeneous @ (np.diag([-1, -1, 1, 1]) @ TO_MM).T
        one.ContourGeometricType, one.ContourData = kind, [f"{x:.4f}" for x in mm[:, :3].ravel()]
        return one

    for kind in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
        roi.ContourSequence = [contour(hole, 3, kind), contour(corners, 3, kind)]
        data.save_as(tmp_path / "b.dcm")
        np.testing.assert_array_equal(read(tmp_path / "b.dcm", scan, ("background", "a")), wanted)
    for k, kind, told in (
        (3.4, "CLOSED_PLANAR", "0.4 slices off"),
        (9, "CLOSED_PLANAR", "outside"),
        (3, "POINT", "POINT"),
    ):
        roi.ContourSequence = [contour(corners, k, kind)]
        data.save_as(tmp_path / "b.dcm")
        with pytest.raises(InputError, match=told):
            read(tmp_path / "b.dcm", scan, ("background", "a"))


def test_slices_without_contour_between_others_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scan = save(tmp_path / "scan", slices(a_scan()))
    drawn = np.zeros(SIZE, dtype=np.uint8)
    drawn[2:5, 2:5, [0, 3]], drawn[6:8, 2:5, 1:4] = 1, 2
    write_rtstruct(tmp_path / "s.dcm", drawn, ("background", "gaps", "whole"), scan_frames(scan, Reading()))
    np.testing.assert_array_equal(read(tmp_path / "s.dcm", scan, ("background", "gaps", "whole")), drawn)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "gaps" in warning and "2 slices" in warning and "2, 3" in warning


def test_segments_of_another_series_are_refused(tmp_path: Path) -> None:
    scan = save(tmp_path / "scan", slices(a_scan()))
    path = written(tmp_path, scan, "seg")
    moved = TO_MM.copy()
    moved[2, 3] += 1
    other = save(tmp_path / "other", slices(a_scan(), moved))
    with pytest.raises(InputError, match=r"0\.25 voxels"):
        read(path, other)
    moved[2, 3] += 7
    with pytest.raises(InputError, match="outside"):
        read(path, save(tmp_path / "far", slices(a_scan(), moved)))


def test_segments_of_a_part_of_the_scan_turned_lie_in_place(tmp_path: Path) -> None:
    """A segmentation written on the same slices stored upside down: rows and columns run the other way."""
    scan = save(tmp_path / "scan", slices(a_scan()))
    turned = TO_MM @ np.array([[-1.0, 0, 0, 8], [0, -1, 0, 7], [0, 0, 1, 1], [0, 0, 0, 1]])
    other = save(tmp_path / "other", slices(a_scan((9, 8, 4)), turned))
    part = np.random.default_rng(1).integers(0, 2, (9, 8, 4)).astype(np.uint8)
    write_dicom_seg(tmp_path / "s.dcm", part, ("background", "a"), scan_frames(other, Reading()))
    found = read(tmp_path / "s.dcm", scan, ("background", "a"))
    np.testing.assert_array_equal(found[::-1, ::-1, 1:5], part)
    assert not found[:, :, [0, 5]].any()


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_segmentations_of_other_programs(tmp_path: Path, kind: str) -> None:
    """Probabilities count from a half on; segment numbers of a label map may have gaps."""
    from pydicom.sr.codedict import codes

    scan = save(tmp_path / "scan", slices(a_scan(), OBLIQUE))
    numbers = (1, 2) if kind == "FRACTIONAL" else (3, 700)
    rng = np.random.default_rng(0)
    if kind == "FRACTIONAL":
        drawn = rng.uniform(0, 1, (*SIZE, 2))
        drawn[..., 1] = np.where(drawn[..., 0] >= 0.5, 0, drawn[..., 1])  # none is in both
        expected = np.where(np.rint(drawn * 255) >= 127.5, [1, 2], 0).max(axis=-1)
        pixels = np.moveaxis(drawn, 2, 0).swapaxes(1, 2)
    else:
        expected = rng.integers(0, 3, SIZE)
        pixels = np.array([0, *numbers], np.uint16)[expected].transpose(2, 1, 0)
    described = [
        highdicom.seg.SegmentDescription(
            number, name, codes.SCT.AnatomicalStructure, codes.SCT.Organ, "MANUAL"
        )
        for number, name in zip(numbers, NAMES[1:], strict=False)
    ]
    segmentation = highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(file) for file in sorted(scan.iterdir())],
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="other",
        manufacturer_model_name="other",
        software_versions="1",
        device_serial_number="1",
    )
    segmentation.SpecificCharacterSet = "ISO_IR 192"
    segmentation.save_as(tmp_path / "other.dcm")
    np.testing.assert_array_equal(read(tmp_path / "other.dcm", scan, NAMES), expected)
