"""Check of the real size of compressed voxels, before memory is allocated for the size in the header."""

import zlib
from pathlib import Path
from typing import BinaryIO

from app.core.errors import InputError

_GZIP_OR_ZLIB = 47  # zlib's wbits for either header and the largest window
_AT_ONCE = 2**20  # bytes
_BELIEVED = 10  # times the size of the file: up to this size the header is accepted without counting


def refuse_hollow(path: Path, file: Path, wanted: int, *, start: int = 0) -> None:
    """Check that the compressed bytes of `file` from byte `start` expand to at least `wanted` bytes.

    If `wanted` is at most ten times the file's size, nothing is counted: the memory at risk is small.

    Raises:
        InputError: the file holds fewer bytes; the message names `path`.
    """
    if wanted <= _BELIEVED * file.stat().st_size:
        return
    with file.open("rb") as stream:
        stream.seek(start)
        held = _unpacked(stream, wanted)
    if held < wanted:
        raise InputError(
            f"{path}: got {held} bytes of voxels, its header says {wanted}; is it damaged or cut short?"
        )


def _unpacked(stream: BinaryIO, enough: int) -> int:
    """Return how many bytes a gzip or zlib stream expands to; stop at `enough` or at the first damage."""
    held, unpack, waiting = 0, zlib.decompressobj(_GZIP_OR_ZLIB), b""
    while held < enough:
        if unpack.eof:
            waiting, unpack = unpack.unused_data, zlib.decompressobj(_GZIP_OR_ZLIB)
        packed = waiting or stream.read(_AT_ONCE)
        if not packed:
            break
        try:
            held += len(unpack.decompress(packed, _AT_ONCE))
        except zlib.error:
            break
        waiting = unpack.unconsumed_tail
    return held
