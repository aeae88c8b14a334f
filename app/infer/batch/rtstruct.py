"""Writing a label map as a DICOM radiotherapy structure set: contours on the slices of its series."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app import __version__
from app.core.files import atomic_path
from app.infer.batch.dicom_sources import MANUFACTURER, UTF_8, keep_patient, read_sources, short_name
from app.io.contours import outlines
from app.io.dicom_files import Frame

_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
_STUDY = "1.2.840.10008.3.1.2.3.1"  # SOP class with which structure sets refer to a study
_COLOURS = ((230, 60, 60), (60, 160, 60), (60, 90, 230), (230, 180, 40), (160, 60, 200), (40, 190, 200))


def write_rtstruct(
    path: Path, classes: NDArray[Any], names: tuple[str, ...], frames: Sequence[Frame]
) -> None:
    """Write classes (i, j, k) of a series with these slices, atomically.

    Structure n is class n of `names`; classes that do not occur have a structure too. Outlines follow the
    edges of voxels, so filling them gives the same voxels. Holes are joined to their outline by keyholes,
    which all readers fill in the same way.
    """
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    sources = read_sources(frames)
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = _STORAGE, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    keep_patient(data, sources[0])
    data.SpecificCharacterSet = UTF_8
    data.SOPClassUID, data.SOPInstanceUID = _STORAGE, meta.MediaStorageSOPInstanceUID
    data.Modality, data.SeriesInstanceUID, data.SeriesNumber = "RTSTRUCT", generate_uid(), 1001
    data.Manufacturer, data.SoftwareVersions, data.SeriesDescription = MANUFACTURER, __version__, MANUFACTURER
    now = datetime.datetime.now()
    data.StructureSetLabel, data.InstanceNumber = MANUFACTURER, 1
    data.StructureSetDate, data.StructureSetTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    data.ReferencedFrameOfReferenceSequence = [_reference(sources)]
    named = list(enumerate(names))[1:]
    data.StructureSetROISequence = [_structure(value, name, sources[0]) for value, name in named]
    data.ROIContourSequence = [_contours(value, classes == value, frames, sources) for value, _ in named]
    data.RTROIObservationsSequence = [_observation(value) for value, _ in named]
    with atomic_path(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)


def _item(**values: Any) -> Any:
    import pydicom

    item = pydicom.Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _image(source: Any) -> dict[str, Any]:
    return {"ReferencedSOPClassUID": source.SOPClassUID, "ReferencedSOPInstanceUID": source.SOPInstanceUID}


def _reference(sources: Sequence[Any]) -> Any:
    first = sources[0]
    images = {source.SOPInstanceUID: _item(**_image(source)) for source in sources}
    series = _item(SeriesInstanceUID=first.SeriesInstanceUID, ContourImageSequence=list(images.values()))
    study = _item(
        ReferencedSOPClassUID=_STUDY,
        ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _structure(number: int, name: str, source: Any) -> Any:
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=source.FrameOfReferenceUID,
        ROIName=short_name(name),
        ROIDescription=name[:1024],
        ROIGenerationAlgorithm="AUTOMATIC",
    )


def _contours(number: int, mask: NDArray[np.bool_], frames: Sequence[Frame], sources: Sequence[Any]) -> Any:
    found = []
    for k in np.flatnonzero(mask.any(axis=(0, 1))).tolist():
        frame, image = frames[k], _image(sources[k])
        if frame.index is not None:
            image["ReferencedFrameNumber"] = frame.index + 1
        across = np.array([frame.axes[:3], frame.axes[3:]]) * np.array(frame.spacing)[:, None]
        for outline in outlines(mask[:, :, k]):
            points = outline @ across + frame.position
            found.append(
                _item(
                    ContourImageSequence=[_item(**image)],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[f"{value:.6f}" for value in points.ravel()],
                )
            )
    colour = list(_COLOURS[(number - 1) % len(_COLOURS)])
    return _item(ROIDisplayColor=colour, ReferencedROINumber=number, ContourSequence=found)


def _observation(number: int) -> Any:
    return _item(
        ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter=""
    )
