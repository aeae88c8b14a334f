"""Damage to the headers of files: bytes, words of text, elements of DICOM, entries of JSON."""

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Mutate = Callable[[bytes, np.random.Generator], bytes]

_REALS = (0.0, -1.0, 1e-30, 1e30, 3.4e38, float("nan"), float("inf"), -float("inf"))
_NUMBERS = (
    *(struct.pack(f"<{kind}", value) for kind in "bhiq" for value in (-1, 0, 1, 2, 3, 127)),
    *(struct.pack("<h", value) for value in (-32768, 256, 4096, 32767)),
    *(struct.pack("<i", value) for value in (-(2**31), 2**16, 2**24, 2**31 - 1)),
    *(struct.pack(f"<{kind}", value) for kind in "fd" for value in _REALS),
)
_WORDS = (
    *(
        b"",
        b"-1",
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
        b"17",
        b"1000",
        b"65536",
        b"2147483648",
        b"99999999999999999999",
    ),
    *(
        b"nan",
        b"inf",
        b"-inf",
        b"1e-30",
        b"1e30",
        b"1e308",
        b"0.0000001",
        b"(1,0,0)",
        b"none",
        b"true",
        b"LOCAL",
    ),
    *(
        b"\xff\xfe",
        b"\0",
        b"x" * 300,
        b"%s%n",
        b"../a",
        b"MET_DOUBLE",
        b"double",
        b"gzip",
        b"ascii",
        b"unknown",
    ),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 7, 65536, 10**30, 0.5, 1e308, float("nan"), [], {}, [[]], [None], {"0": None}),
    *("", ".", "..", "/", "\0", "0", "1", "-1", "²", "x" * 300, "\ud800", "a/b", "imagesTr", "dataset.json"),
    *("imagesTr/a.nii.gz", "imagesTr/a.nii.gz/", "imagesTr/no.nii.gz", "a.png", ["imagesTr/a.nii.gz"]),
)


def of_header(size: int) -> Mutate:
    """Damage one to four places among the first `size` bytes, or cut the file short."""

    def mutate(content: bytes, rng: np.random.Generator) -> bytes:
        changed = bytearray(content)
        for _ in range(int(rng.integers(1, 5))):
            place = int(rng.integers(0, min(size, len(changed)) or 1))
            kind = rng.integers(0, 10)
            if kind < 4:
                changed[place : place + 1] = bytes([rng.integers(0, 256)])
            elif kind < 8:
                value = _NUMBERS[rng.integers(0, len(_NUMBERS))]
                place -= place % len(value) * int(rng.integers(0, 2))
                changed[place : place + len(value)] = value
            elif kind == 8:
                del changed[place : place + int(rng.integers(1, 9))]
            else:
                del changed[int(rng.integers(0, len(changed) + 1)) :]
        return bytes(changed)

    return mutate


def packed(mutate: Mutate) -> Mutate:
    """Damage what a gzip file holds, or one time in eight the file itself."""

    def outer(content: bytes, rng: np.random.Generator) -> bytes:
        if rng.integers(0, 8) == 0:
            return of_header(len(content))(content, rng)
        return gzip.compress(mutate(gzip.decompress(content), rng), mtime=0)

    return outer


def deflated(mutate: Mutate) -> Mutate:
    """Damage what a DICOM file holds that is compressed as a whole, or one time in eight the file itself."""

    def outer(content: bytes, rng: np.random.Generator) -> bytes:
        if rng.integers(0, 8) == 0:
            return of_header(len(content))(content, rng)
        first = 144 + struct.unpack_from("<I", content, 140)[0]  # after the meta information
        whole = mutate(content[:first] + zlib.decompress(content[first:], -zlib.MAX_WBITS), rng)
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return whole[:first] + deflate.compress(whole[first:]) + deflate.flush()

    return outer


def of_text(end: bytes) -> Mutate:
    """Damage words and lines of a header that ends with `end`, or its bytes."""

    def mutate(content: bytes, rng: np.random.Generator) -> bytes:
        head, mark, rest = content.partition(end)
        if rng.integers(0, 5) == 0:
            return of_header(len(head))(content, rng)
        lines = head.split(b"\n")
        for _ in range(int(rng.integers(1, 3))):
            at = int(rng.integers(0, len(lines)))
            kind = rng.integers(0, 10)
            if kind == 0:
                del lines[at]
                lines = lines or [b""]
            elif kind == 1:
                lines.insert(at, lines[int(rng.integers(0, len(lines)))])
            else:
                words = lines[at].split(b" ")
                words[int(rng.integers(0, len(words)))] = _WORDS[rng.integers(0, len(_WORDS))]
                lines[at] = b" ".join(words)
        return b"\n".join(lines) + mark + rest

    return mutate


def of_dicom(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage one or two elements of a file in explicit VR, little endian, or its bytes."""
    if rng.integers(0, 6) == 0:
        return of_header(len(content))(content, rng)
    for _ in range(int(rng.integers(1, 3))):
        elements = list(_elements(content))
        if not elements:
            return content
        start, length_at, first, stop = elements[rng.integers(0, len(elements))]
        value = content[first:stop]
        kind = rng.integers(0, 8)
        if kind == 0:
            content = content[:start] + content[stop:]
        elif kind == 1:
            content = content[:stop] + content[start:stop] + content[stop:]
        elif kind == 2:  # another type
            content = content[: start + 4] + bytes(rng.integers(65, 91, 2).tolist()) + content[start + 6 :]
        else:
            pool = _WORDS if kind < 6 else _NUMBERS
            new = pool[rng.integers(0, len(pool))]
            if kind == 5:  # one of several values
                parts = value.split(b"\\")
                parts[rng.integers(0, len(parts))] = new
                new = b"\\".join(parts)
            new = new.ljust(len(value), b" " if kind < 6 else b"\0")[: max(len(value), 16)]
            new += b" " * (len(new) % 2)
            width = first - length_at
            content = content[:length_at] + len(new).to_bytes(width, "little") + new + content[stop:]
    return content


def _elements(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Where each element, its length and its value start, and where it stops; sequences are entered."""
    at = 132
    while at + 8 <= len(content):
        long = content[at + 4 : at + 6] in (
            b"OB",
            b"OW",
            b"SQ",
            b"UN",
            b"UT",
            b"UC",
            b"UR",
            b"OF",
            b"OD",
            b"OL",
        )
        if content[at : at + 2] == b"\xfe\xff":  # items and their ends
            at += 8
            continue
        first = at + (12 if long else 8)
        length_at = at + (8 if long else 6)
        length = int.from_bytes(content[length_at:first], "little")
        if content[at + 4 : at + 6] == b"SQ" or length == 0xFFFFFFFF:
            at = first
            continue
        stop = first + length
        if stop > len(content):
            return
        yield at, length_at, first, stop
        at = stop


def of_json(content: bytes, rng: np.random.Generator) -> bytes:
    """Replace, remove, copy or add one to three entries, or damage bytes."""
    kind = rng.integers(0, 12)
    if kind == 0:
        return of_header(len(content))(content, rng)
    if kind == 1:
        deep = int(rng.choice([10, 1_000, 100_000]))
        return b"[" * deep + b"]" * (deep * int(rng.integers(0, 2)))
    if kind == 2:
        return content.replace(b'"0"', b"9" * int(rng.choice([30, 5000])), 1)
    facts = json.loads(content)
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(facts))
        if not places:
            break
        inside, key = places[rng.integers(0, len(places))]
        value = _VALUES[rng.integers(0, len(_VALUES))]
        change = rng.integers(0, 6)
        if change == 0:
            del inside[key]
        elif change == 1 and isinstance(inside, list):
            inside.append(inside[key])
        elif change == 1:
            inside[str(value)] = inside[key]
        else:
            inside[key] = json.loads(json.dumps(value))
    return json.dumps(facts).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
