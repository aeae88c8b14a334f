"""Checks of compressed voxels: their real size, before memory is allocated for it, and their checksums."""

import zlib
from pathlib import Path
from typing import BinaryIO

from app.core.errors import InputError

_GZIP_OR_ZLIB = 47  # zlib's wbits for either header and the largest window
_AT_ONCE = 2**20  # bytes
_MEMBER = b"\x1f\x8b"  # start of another gzip stream in the same file
_BELIEVED = 10  # times the size of the file: up to this size the header is accepted without counting


def refuse_hollow(path: Path, file: Path, wanted: int) -> None:
    """Check that the compressed bytes of `file` expand to at least `wanted` bytes.

    If `wanted` is at most ten times the file's size, nothing is counted: the memory at risk is small.

    Raises:
        InputError: the file holds fewer bytes; the message names `path`.
    """
    if wanted <= _BELIEVED * file.stat().st_size:
        return
    with file.open("rb") as stream:
        held = _unpacked(stream, wanted)
    if held < wanted:
        raise InputError(
            f"{path}: got {held} bytes of voxels, its header says {wanted}; is it damaged or cut short?"
        )


def refuse_damaged(path: Path, file: Path, wanted: int, *, start: int = 0) -> int:
    """Check that the compressed bytes of `file` from byte `start` are whole; return how many they are.

    They are whole if they expand without an error to at least `wanted` bytes and their checksums are right.
    Libraries check only some of this: ITK returns undefined voxels of a damaged MetaImage.

    Raises:
        InputError: they are damaged, cut short, or expand to far more bytes; the message names `path`.
    """
    held, waiting, unpack = 0, b"", zlib.decompressobj(_GZIP_OR_ZLIB)
    with file.open("rb") as stream:
        stream.seek(start)
        while True:
            if unpack.eof:
                waiting = unpack.unused_data or stream.read(_AT_ONCE)
                if not waiting.startswith(_MEMBER):
                    break
                unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
            packed = waiting or stream.read(_AT_ONCE)
            if not packed:
                raise InputError(f"{path}: got compressed voxels without an end; is it cut short?")
            try:
                held += len(unpack.decompress(packed, _AT_ONCE))
            except zlib.error as error:
                raise InputError(f"{path}: its compressed voxels are damaged ({error})") from None
            waiting = unpack.unconsumed_tail
            if held > wanted + _AT_ONCE:
                raise InputError(f"{path}: got over {held} bytes of voxels, its header says {wanted}")
        read = stream.tell() - start - len(waiting)
    if held < wanted:
        raise InputError(f"{path}: got {held} bytes of voxels, its header says {wanted}; is it damaged?")
    return read


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
