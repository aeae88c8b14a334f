"""Check of the element lengths of a DICOM file before GDCM reads it.

GDCM allocates memory for the stated length of an element, up to 4 GB, before it reads any of its bytes. A
length beyond the end of the file is therefore refused here, and so are elements at places where GDCM would
take other bytes for a length.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from app.core.errors import InputError
from app.core.machine import memory_bytes

_MAGIC, _PREAMBLE_BYTES = b"DICM", 128
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations whose length field has four bytes."""
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_UNDEFINED = 0xFFFFFFFF
_ITEMS, _META, _SYNTAX, _PIXELS = 0xFFFE, 0x0002, (0x0002, 0x0010), (0x7FE0, 0x0010)
_FRAGMENT, _LAST_FRAGMENT = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_ENDS = ((0xFFFE, 0xE00D), _LAST_FRAGMENT)  # of an item and a sequence of undefined length
_ITEM_START = {"little": b"\xfe\xff\x00\xe0", "big": b"\xff\xfe\xe0\x00"}
_IMPLICIT, _BIG_ENDIAN, _DEFLATED = (b"1.2.840.10008.1.2" + end for end in (b"", b".2", b".1.99"))
_RUN_LENGTHS, _MOST_SEGMENTS = b"1.2.840.10008.1.2.5", 15
_Order = Literal["little", "big"]
_JPEG_HEAD = 2**16  # bytes of a fragment in which the image's own header is looked for
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""JPEG and JPEG-LS markers of the header that has the bits of a sample."""
_SCAN, _MOST_BITS = 0xDA, 16

_MODALITY_LUT = (0x0028, 0x3000)


@dataclass(frozen=True)
class Pixels:
    """The storage of a file's pixels: their size in bytes, None if compressed or absent."""

    bytes: int | None = None
    has_lut: bool = False
    """Whether a modality LUT, not slope and intercept, maps stored values to intensities."""
    deflated_from: int | None = None
    """Byte from which the file is compressed as a whole, so that no element has a place in it."""


@dataclass(frozen=True)
class _Element:
    """An element or item: group and number, byte where it begins, first byte and length of its value."""

    tag: tuple[int, int]
    begin: int
    first: int
    length: int


class _Place:
    """The place of an element in a file: in the meta information, in the data, or in sequences and items."""

    def __init__(self) -> None:
        self._ends: list[float] = []  # of the sequences and items around it
        self._in_data = self._after_empty = False

    @property
    def is_top(self) -> bool:
        """Whether it is in no sequence."""
        return not self._ends

    def reach(self, path: Path, found: _Element) -> None:
        """Leave the sequences and items that end before an element.

        Raises:
            InputError: it is meta information among data, or an item after an empty sequence.
        """
        while self._ends and found.begin >= self._ends[-1]:
            self._ends.pop()
        late = found.tag[0] == _META and self._in_data
        if late or (found.tag == _FRAGMENT and self._after_empty and self.is_top):
            raise InputError(
                f"{path}: the DICOM element ({found.tag[0]:04x},{found.tag[1]:04x}) cannot be at byte "
                f"{found.begin}; is the file damaged?"
            )
        self._in_data |= found.tag[0] != _META
        self._after_empty = found.length == 0

    def enter(self, found: _Element, *, inside: bool) -> None:
        """Enter an element that has others inside; leave a sequence or an item at its delimiter."""
        if found.tag in _ENDS:
            del self._ends[-1:]
        elif inside:
            self._ends.append(math.inf if found.length == _UNDEFINED else found.first + found.length)


def find_pixels(path: Path) -> Pixels:
    """Check all elements of a file, up to compressed pixels, and return how the pixels are stored.

    Raises:
        InputError: an element is longer than the rest of the file or at a place where it cannot be, or a file
            that is compressed as a whole (deflated) is damaged.
    """
    size, deflated_from = path.stat().st_size, None
    place = _Place()
    with path.open("rb") as file:
        stream: BinaryIO = file
        start = stream.read(_PREAMBLE_BYTES + len(_MAGIC))
        order: _Order = "little"
        explicit, syntax, has_lut = True, b"", False
        stored_bytes, coded_runs = None, False
        if start[_PREAMBLE_BYTES:] != _MAGIC:
            stream.seek(0)
            explicit = start[4:6] in _LONG | _SHORT
        while (found := _next(stream, order, explicit)) is not None:
            if syntax and found.tag[0] != _META:  # the meta information ends: apply its syntax
                order, explicit = "big" if syntax == _BIG_ENDIAN else "little", syntax != _IMPLICIT
                stream.seek(found.begin)
                if syntax == _DEFLATED:
                    deflated_from, content = found.begin, _inflated(path, file.read())
                    size, stream = len(content), BytesIO(content)
                syntax = b""
                continue
            place.reach(path, found)
            inside = found.tag[0] == _ITEMS or found.length == _UNDEFINED
            if found.length != _UNDEFINED and found.first + found.length > size:
                raise InputError(_too_long(path, found, size))
            if found.tag == _PIXELS and inside:
                _check_fragments(path, stream, order, size, coded_runs=coded_runs)
                if place.is_top:
                    return Pixels(None, has_lut, deflated_from)
                continue  # pixels of an icon
            if found.tag == _PIXELS and place.is_top:
                stored_bytes = found.length
            has_lut = has_lut or found.tag == _MODALITY_LUT
            value = stream.read(min(found.length, 64)) if not inside else b""
            if found.tag == _SYNTAX:
                syntax = value.rstrip(b"\0 ")
                coded_runs = syntax == _RUN_LENGTHS
            inside = inside or (found.tag != _PIXELS and value.startswith(_ITEM_START[order]))
            place.enter(found, inside=inside)
            stream.seek(found.first + (0 if inside else found.length))
    return Pixels(stored_bytes, has_lut, deflated_from)


def with_elements(path: Path, change: Callable[[bytes], bytes]) -> bytes:
    """Return the content of a file with its elements changed, in the file's own compression."""
    content, begin = path.read_bytes(), find_pixels(path).deflated_from
    if begin is None:
        return change(content)
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    changed = change(_inflated(path, content[begin:]))
    return content[:begin] + deflate.compress(changed) + deflate.flush()


def _inflated(path: Path, stored: bytes) -> bytes:
    """Return what was compressed as a whole.

    Raises:
        InputError: it is damaged or cut short, or takes more than a quarter of the machine's memory.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflate.decompress(stored, memory_bytes() // 4)
    except zlib.error as error:
        raise InputError(f"{path}: its compressed elements are damaged ({error})") from None
    if inflate.unconsumed_tail:
        raise InputError(
            f"{path}: its elements take more than {len(content)} bytes decompressed; is it damaged?"
        )
    if not inflate.eof:
        raise InputError(f"{path}: its compressed elements end early; is it cut short?")
    return content


def _check_fragments(path: Path, stream: BinaryIO, order: _Order, size: int, *, coded_runs: bool) -> None:
    """Check that compressed pixels are a sequence of items within the file, and their own headers.

    GDCM crashes if a JPEG image has more than 16 bits per sample, or run lengths (RLE) have no segment.

    Raises:
        InputError: another element is among them, an item is longer than the rest of the file, a JPEG image
            has more than 16 bits per sample, or run lengths have no or too many segments.
    """
    first = True  # the table of offsets
    while (found := _next(stream, order, True)) is not None and found.tag != _LAST_FRAGMENT:
        if found.tag != _FRAGMENT or found.first + found.length > size:
            raise InputError(_too_long(path, found, size))
        head = stream.read(min(found.length, _JPEG_HEAD))
        segments = int.from_bytes(head[:4], "little")
        if coded_runs and not first and not 1 <= segments <= _MOST_SEGMENTS:
            raise InputError(
                f"{path}: its run lengths have {segments} segments, wanted 1 to {_MOST_SEGMENTS}"
            )
        first, bits = False, _jpeg_bits(head)
        if bits > _MOST_BITS:
            raise InputError(
                f"{path}: its JPEG image has {bits} bits per sample, at most {_MOST_BITS} are possible"
            )
        stream.seek(found.first + found.length)


def _jpeg_bits(image: bytes) -> int:
    """Return the bits per sample that a JPEG image states; 0 if it states none or is not a JPEG image."""
    at = 2
    while image[:2] == b"\xff\xd8" and image[at : at + 1] == b"\xff" and at + 4 < len(image):
        if image[at + 1] in _FRAME_HEADERS:
            return image[at + 4]
        if image[at + 1] == _SCAN:
            break
        at += 2 + int.from_bytes(image[at + 2 : at + 4], "big")
    return 0


def _too_long(path: Path, found: _Element, size: int) -> str:
    return (
        f"{path}: the DICOM element ({found.tag[0]:04x},{found.tag[1]:04x}) has length {found.length} "
        "bytes, but "
        f"{size - found.first} are left of the file; is it damaged or cut short?"
    )


def _next(stream: BinaryIO, order: _Order, explicit: bool) -> _Element | None:
    """Return the element that starts at the stream's position; None at the end of the file."""
    begin = stream.tell()
    head = stream.read(8)
    if len(head) < 8:
        return None
    tag = (int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order))
    if explicit and head[4:6] in _SHORT:
        return _Element(tag, begin, begin + 8, int.from_bytes(head[6:], order))
    if explicit and head[4:6] in _LONG:
        return _Element(tag, begin, begin + 12, int.from_bytes(stream.read(4), order))
    return _Element(tag, begin, begin + 8, int.from_bytes(head[4:], order))  # also inside UN sequences
