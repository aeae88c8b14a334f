"""Headers of NRRD and MetaImage: where voxels are, and what is refused before ITK complains of it."""

import re
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.io.text_header import TextHeader, read_text_header

META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = False\nOffset = 0 0 0\n"
    "ElementSpacing = 1 1 1\nDimSize = 6 5 4\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
)
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nendian: little\nencoding: raw\n"


def header(path: Path, text: str, more: bytes = b"") -> TextHeader:
    path.write_bytes(text.encode() + more)
    return read_text_header(path)


def test_where_voxels_are(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"")
    meta, beside = tmp_path / "a.mha", tmp_path / "a.mhd"
    assert header(meta, META, b"\n\n") == TextHeader(meta, len(META), zipped=False, raw=True)
    assert header(meta, META.replace("\n", "\r\n")).start == len(META) + 9
    zipped = header(
        meta, META.replace("CompressedData = False", "CompressedData = True\nCompressedDataSize = 9")
    )
    assert zipped.zipped and zipped.packed_bytes == 9
    assert not header(meta, META.replace("BinaryData = True", "BinaryData = False")).raw
    assert header(beside, META.replace("LOCAL", "a.raw")).voxels == tmp_path / "a.raw"
    nrrd = tmp_path / "a.nrrd"
    assert header(nrrd, f"{NRRD}\n", b"\n\n") == TextHeader(nrrd, len(NRRD) + 1, zipped=False, raw=True)
    assert header(nrrd, NRRD.replace("raw", "gzip") + "\n").zipped
    assert not header(nrrd, NRRD.replace("raw", "ascii") + "\n").raw
    apart = header(tmp_path / "a.nhdr", f"{NRRD}data file: a.raw\n")
    assert (apart.voxels, apart.start) == (tmp_path / "a.raw", 0)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("NDims = 3", "NDims = 17", "NDims.*'17'"),
        ("NDims = 3\n", "", "NDims"),
        ("DimSize = 6 5 4", "DimSize = 6 5", "DimSize.*3 numbers"),
        ("DimSize = 6 5 4\n", "", "no DimSize"),
        ("ElementSpacing = 1 1 1", "ElementSpacing = 1 nan 1", "ElementSpacing.*1 nan 1"),
        ("ElementType = MET_SHORT\n", "", "no ElementType"),
        ("BinaryData = True", f"BinaryData = {'x' * 300}", "BinaryData: got 'x{80}', wanted True"),
        ("CompressedData = False", "CompressedData = True\nCompressedDataSize = true", "CompressedDataSize"),
        ("CompressedData = False", "CompressedData = True", "no CompressedDataSize"),
        (
            "BinaryData = True\nCompressedData = False",
            "BinaryData = False\nCompressedData = True",
            "BinaryData = False, wanted one of them",
        ),
        ("Offset = 0 0 0", "Offset 0 0 0", "line 5.*'Offset 0 0 0'"),
        ("BinaryData = True", "BinaryData\0x = False", "line 3"),
        ("ElementDataFile = LOCAL\n", "", "no line ElementDataFile"),
        ("LOCAL", "x" * 300, "x{80}'"),
        ("LOCAL", "a\0b", "wanted them in the file itself"),
    ],
)
def test_what_a_metaimage_cannot_say(tmp_path: Path, old: str, new: str, named: str) -> None:
    path = tmp_path / "a.mha"
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*{named}") as error:
        header(path, META.replace(old, new))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", ".", "..", "other/a.raw", "b.raw"])
def test_voxels_are_in_a_file_beside_the_header(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.mhd"
    with pytest.raises(InputError, match=re.escape(str(path))):
        header(path, META.replace("LOCAL", name))


def test_no_nrrd_and_names_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="b'x'"):
        header(tmp_path / "a.nrrd", "x")
    for name in ("x" * 300, "a\0b", "../a.raw", "no.raw"):
        with pytest.raises(InputError, match=re.escape(str(tmp_path / "a.nhdr"))):
            header(tmp_path / "a.nhdr", f"{NRRD}data file: {name}\n")
