"""Warnings about the headers of a scan: missing or contradictory information."""

from collections.abc import Sequence
from pathlib import Path

from app.core.reading import DEFAULT_READING, Reading
from app.io import dicom, nifti
from app.io.dicom_grid import is_uneven, uneven_sentence
from app.io.scan_paths import channels_of, is_several
from app.io.suffixes import NIFTI, suffix_of


def header_warnings(path: Path, reading: Reading = DEFAULT_READING) -> dict[str, str]:
    """Return one sentence per kind of missing or contradictory information in a scan's headers."""
    if is_several(path):
        inside = channels_of(path, reading)
        files = [channel.source for channel in inside if isinstance(channel.source, Path)]
        series = [channel.source for channel in inside if isinstance(channel.source, dicom.Series)]
        found = {
            kind: f"{file.name}: {sentence}"
            for file in files
            for kind, sentence in header_warnings(file).items()
        }
        return found | _series_warnings([dicom.header_of(one).uneven for one in series])
    if suffix_of(path, NIFTI):
        return nifti.nifti_warnings(path)
    return {} if suffix_of(path) else _series_warnings([dicom.read_header(path).uneven])


def _series_warnings(uneven: Sequence[float]) -> dict[str, str]:
    worst = max(uneven, default=0.0)
    return {"uneven_slices": uneven_sentence(worst)} if is_uneven(worst) else {}
