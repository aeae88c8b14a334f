"""Check of the extensions of a NIfTI header: data of other programs between the header and the voxels."""

import math
from collections.abc import Sequence
from pathlib import Path
from struct import pack, unpack, unpack_from

from nibabel.openers import ImageOpener

from app.core.errors import InputError

_OFFSETS = {348: ("f", 108), 540: ("q", 168)}
"""Type and place of the offset of the voxels, by the bytes of the header: NIfTI-1 and NIfTI-2."""
_AT_ONCE = 2**20  # bytes


def refuse_long_extension(path: Path, files: Sequence[Path]) -> None:
    """Check that no header extension is longer than its file; `files` is the scan, or header and voxels.

    nibabel allocates memory for the stated length of an extension before it reads any of its bytes.

    Raises:
        InputError: one is longer; the message names `path`.
    """
    file, *beside = files
    with ImageOpener(file) as stream:
        start = stream.read(4)
        order = next((each for each in "<>" if start in (pack(f"{each}i", size) for size in _OFFSETS)), None)
        if order is None:
            return  # no NIfTI, which nibabel says
        size = unpack(f"{order}i", start)[0]
        kind, place = _OFFSETS[size]
        header = start + stream.read(size - len(start) + 4)
        if len(header) < size + 4 or header[size] == 0:
            return  # without extensions
        at, end = size + 4, math.inf if beside else unpack_from(f"{order}{kind}", header, place)[0]
        while at < end and len(words := stream.read(8)) == 8:
            length = unpack(f"{order}i", words[:4])[0]
            left = length - len(words)
            while left > 0 and (part := stream.read(min(left, _AT_ONCE))):
                left -= len(part)
            if left > 0:
                raise InputError(f"{path}: a header extension of {length} bytes ends after the file")
            if length < len(words):
                return  # damaged, which nibabel says
            at += length
