"""What segmentations and structure sets take over from the series they were made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.core.digest import digest_of
from app.core.errors import InputError
from app.core.optional import require
from app.core.reading import Reading
from app.io.dicom import frames_in_order
from app.io.dicom_files import Frame
from app.io.volumes import series_of

NAME = "CakeSeg"
UTF_8 = "ISO_IR 192"
_LONGEST_NAME = 64  # characters that DICOM allows
_PATIENT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"),
)
"""Tags that every object has, though they may be empty; archives file by them."""


def check_dicom_output(scan: Path, reading: Reading, wanted: str) -> None:
    """Raise InputError unless a DICOM segmentation or structure set of this scan can be written."""
    require(f"predict.format={wanted}", "highdicom", "pydicom")
    if series_of(scan, reading) is None:
        raise InputError(
            f"predict.format: got {wanted}, but {scan} is no DICOM series; choose nii.gz, nrrd or mha"
        )


def scan_frames(scan: Path, reading: Reading) -> tuple[Frame, ...]:
    """The slices of a scan's first channel in the order of the voxels' last axis."""
    series = series_of(scan, reading)
    assert series is not None, "checked before the first scan"
    return frames_in_order(series)


def read_sources(frames: Sequence[Frame]) -> list[Any]:
    """The data set of each slice, without pixels; frames of one file share it."""
    import pydicom

    files = {file: pydicom.dcmread(file, stop_before_pixels=True) for file in {f.file for f in frames}}
    for file, data in files.items():
        if not data.get("FrameOfReferenceUID"):
            raise InputError(
                f"{file}: got no FrameOfReferenceUID, so no DICOM object can refer to its places; "
                "choose nii.gz"
            )
        keep_patient(data, data)
        _share_groups(data)
    return [files[frame.file] for frame in frames]


def _share_groups(data: Any) -> None:
    """Put spacing and orientation of a multi-frame file, the same in all frames, where highdicom looks."""
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        if shared is not None and name not in shared:
            setattr(shared, name, data.PerFrameFunctionalGroupsSequence[0][name].value)


def keep_patient(data: Any, source: Any) -> None:
    """Give a data set the patient and study of another one, empty where that has none."""
    for name in _PATIENT:
        setattr(data, name, source.get(name, ""))
    data.StudyInstanceUID = source.StudyInstanceUID


def short_name(name: str) -> str:
    """A label's name, or its start with a digest where it is too long for DICOM."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}-{digest_of(name)[:8]}"
