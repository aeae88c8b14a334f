"""How much a compressed file holds, counted before memory is taken for what its header says."""

import zlib
from pathlib import Path
from typing import BinaryIO

from app.core.errors import InputError

_GZIP_OR_ZLIB = 47  # of zlib: either header, the largest window
_AT_ONCE = 2**20  # bytes
_BELIEVED = 10  # times the bytes of a file, which need no counting


def refuse_hollow(path: Path, file: Path, wanted: int, *, start: int = 0) -> None:
    """Refuse a file whose compressed bytes from `start` on become fewer than `wanted`.

    Files that are packed ten times or less are not counted: they cannot ask for much.

    Raises:
        InputError: it holds less.
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
    """Bytes that the gzip members or the zlib stream become, up to `enough` or to the first damage."""
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
