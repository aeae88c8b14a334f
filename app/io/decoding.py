"""Messages of image decoders: kept from the terminal, and read, because decoders continue after damage.

libjpeg and OpenJPEG, which GDCM uses, print what is wrong and return voxels all the same.
"""

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.errors import InputError

_STDERR = 2
_LOCK = threading.Lock()  # the stream belongs to the process, so one file is decoded at a time
_DAMAGE = re.compile(
    "Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Stream too short|"
    "Tile part length|Not enough|Failed to decode|truncated"
)
_HARMLESS = re.compile("extraneous bytes before marker 0xd9")  # some writers pad the end of the image
_LIBJPEG = (
    "Application transferred|Arithmetic|Bogus|Cannot|Corrupt JPEG data|Empty JPEG|Huffman table|Improper|"
    "Inconsistent progression|Invalid|Maximum supported|Missing Huffman|Must downscale|Not a JPEG|"
    "Premature end of JPEG|Quantization table|Sorry|Too many color|Unexpected|Unknown Adobe|Unsupported|"
    "Warning: unknown JFIF|Wrong JPEG"
)
_OPENJPEG = (
    "Error|Expected|Failed|Integer overflow|Marker|Not enough|Number of|Packet|read: segment|SOT|Stream|"
    "Tile|Unknown marker|Wrong|tccp"
)
_OF_DECODERS = re.compile(f"({_LIBJPEG}|{_OPENJPEG})\\b")


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Keep messages of decoders from the terminal while a compressed image is read.

    Lines that other code prints to standard error meanwhile are printed afterwards.

    Raises:
        InputError: a decoder found the image damaged; the message names `path`.
    """
    with _LOCK, tempfile.TemporaryFile() as printed:
        shown = os.dup(_STDERR)
        os.dup2(printed.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(shown, _STDERR)
            os.close(shown)
            printed.seek(0)
            lines = printed.read().decode(errors="replace").splitlines()
            if others := [line for line in lines if not _OF_DECODERS.match(line)]:
                os.write(_STDERR, "".join(f"{line}\n" for line in others).encode())
    damage = [line for line in lines if _DAMAGE.search(line) and not _HARMLESS.search(line)]
    if damage:
        raise InputError(f"{path}: its compressed image is damaged ({damage[0].strip()})")
