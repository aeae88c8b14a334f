"""Writing a label map as a DICOM segmentation object that refers to its series (highdicom)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app import __version__
from app.core.digest import digest_of
from app.core.errors import InputError
from app.core.files import atomic_path
from app.infer.batch.dicom_sources import MANUFACTURER, UTF_8, read_sources, short_name
from app.io.dicom_files import Frame

_SCHEME = "99LABEL"  # a private coding scheme, because labels of a data set have no standard code
_LONGEST_CODE = 16  # most characters that DICOM allows
_BINARY_UP_TO = 255  # segments; with more, one frame per segment and slice would be too many


def write_dicom_seg(
    path: Path, classes: NDArray[Any], names: tuple[str, ...], frames: Sequence[Frame]
) -> None:
    """Write classes (i, j, k) of a series with these slices, atomically.

    Segment n is class n of `names`; classes that do not occur have a segment too.

    Up to 255 segments have frames of their own (BINARY, which most programs read). More segments share one
    frame per slice, whose pixels are segment numbers (LABELMAP with 16 bits).

    Raises:
        InputError: the series lacks facts that highdicom needs, or has several multi-frame files.
    """
    import highdicom

    sources = read_sources(frames)
    several = len({frame.file for frame in frames}) > 1
    if several and frames[0].index is not None:
        raise InputError(f"{frames[0].file.parent}: got several multi-frame files in one series, wanted one")
    pixels = np.ascontiguousarray(classes.transpose(2, 1, 0), np.uint8 if len(names) <= 256 else np.uint16)
    if frames[0].index is not None:
        pixels = pixels[np.argsort([frame.index or 0 for frame in frames])]  # in the file's order of frames
    try:
        segmentation = highdicom.seg.Segmentation(
            source_images=sources if several else sources[:1],
            pixel_array=pixels,
            segmentation_type="BINARY" if len(names) - 1 <= _BINARY_UP_TO else "LABELMAP",
            segment_descriptions=[_describe(value, name) for value, name in enumerate(names) if value],
            series_instance_uid=highdicom.UID(),
            series_number=1000,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=__version__,
            device_serial_number="1",
            omit_empty_frames=bool(classes.any()),  # an object has at least one frame
        )
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{frames[0].file.parent}: no DICOM segmentation can be made from this series ({error}); "
            "choose predict.format=nii.gz"
        ) from None
    segmentation.SpecificCharacterSet = UTF_8
    segmentation.ContentCreatorName = ""  # DICOM wants this element, possibly empty
    with atomic_path(path) as temporary:
        segmentation.save_as(temporary)


def _describe(number: int, name: str) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    short = short_name(name)
    segment = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=short,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=Code(_code(name), _SCHEME, short),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=MANUFACTURER, version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
    )
    segment.SegmentDescription = name[:1024]
    return segment


def _code(name: str) -> str:
    """Return a unique code for a name: the name itself if it is short and ASCII, else one with a digest."""
    plain = name.isascii() and "\\" not in name
    if plain and len(name) <= _LONGEST_CODE:
        return name
    start = name[:7] if plain else "label"
    return f"{start}-{digest_of(name)[:8]}"
