"""Lengths in DICOM files: what is longer than its file is refused before anything is allocated for it."""

import struct
import zlib
from pathlib import Path

import pytest

pydicom = pytest.importorskip("pydicom")

from pydicom.data import get_testdata_file  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLosslessSV1  # noqa: E402

from app.core.errors import InputError  # noqa: E402
from app.io.dicom_elements import find_pixels  # noqa: E402
from app.io.volumes import read_header  # noqa: E402
from tests.support.dicom import a_scan, enhanced, save, save_bare, slices  # noqa: E402

PIXELS = 9 * 8 * 2


def test_bytes_of_the_pixels_in_every_form(tmp_path: Path) -> None:
    made = slices(a_scan())
    for path in save(tmp_path / "plain", made).iterdir():
        assert find_pixels(path).bytes == PIXELS
    for path in save_bare(tmp_path / "bare", made).iterdir():
        assert find_pixels(path).bytes == PIXELS
    for path in save(tmp_path / "jpeg", slices(a_scan()), syntax=JPEGLosslessSV1).iterdir():
        assert find_pixels(path).bytes is None
    for path in save(tmp_path / "whole", slices(a_scan()), syntax=DeflatedExplicitVRLittleEndian).iterdir():
        assert find_pixels(path).bytes == PIXELS and find_pixels(path).deflated_from
    (path,) = save(tmp_path / "enhanced", [enhanced(made)]).iterdir()
    assert find_pixels(path).bytes == 6 * PIXELS


@pytest.mark.parametrize("packed", [False, True])
def test_the_pixels_of_an_icon_are_not_those_of_the_image(tmp_path: Path, packed: bool) -> None:
    (made,) = slices(a_scan((9, 8, 1)))
    icon = pydicom.Dataset()
    icon.Rows = icon.Columns = 1
    icon.PixelData = encapsulate([b"\xff\xd8xx"]) if packed else b"xx"
    icon["PixelData"].VR, icon["PixelData"].is_undefined_length = "OB", packed
    made.IconImageSequence = [icon]
    (path,) = save(tmp_path / "a", [made]).iterdir()
    assert find_pixels(path).bytes == PIXELS


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("ExplVR_BigEnd.dcm", 14_400),
        ("MR_small_implicit.dcm", 8192),
        ("image_dfl.dcm", 262_144),
        ("rtdose_rle.dcm", None),
        ("UN_sequence.dcm", None),
        ("nested_priv_SQ.dcm", 2),
        ("rtstruct.dcm", None),
    ],
)
def test_files_of_other_programs(name: str, size: int | None) -> None:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("this release of pydicom comes without that file")
    assert find_pixels(Path(path)).bytes == size


@pytest.mark.parametrize("tag", [b"\x08\x00\x18\x00UI", b"\x10\x00\x10\x00PN", b"\xe0\x7f\x10\x00OW"])
def test_an_element_longer_than_the_file(tmp_path: Path, tag: bytes) -> None:
    path = save(tmp_path / "a", slices(a_scan((9, 8, 1)))) / "IM0000.dcm"
    content = path.read_bytes()
    at = content.index(tag)
    place = at + (8 if tag.endswith(b"OW") else 6)
    length = struct.pack("<I", 2**31) if tag.endswith(b"OW") else b"\xfe\xff"
    path.write_bytes(content[:place] + length + content[place + len(length) :])
    with pytest.raises(InputError, match=str(path)):
        find_pixels(path)
    unknown = bytearray(content)  # a type that does not exist: GDCM would take the value for a length
    unknown[at + 4 : at + 6] = b"YM"
    path.write_bytes(unknown)
    with pytest.raises(InputError, match=str(path)):
        read_header(path.parent)


@pytest.mark.parametrize("damage", ["empty sequence", "late meta information"])
def test_elements_where_they_cannot_be(tmp_path: Path, damage: str) -> None:
    """GDCM took other bytes for a length and allocated gigabytes."""
    path = save(tmp_path / "a", [enhanced(slices(a_scan((9, 8, 2))))]) / "IM0000.dcm"
    content = bytearray(path.read_bytes())
    if damage == "empty sequence":
        at = content.index(b"R)\x92SQ")
        content[at + 7 : at + 11] = bytes(4)  # its length; its items follow all the same
    else:
        content[132:134] = b"\x3d\x00"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"IM0000\.dcm.* at byte \d+"):
        find_pixels(path)


def test_compressed_pixels_that_are_no_items(tmp_path: Path) -> None:
    path = save(tmp_path / "a", slices(a_scan((9, 8, 1))), syntax=JPEGLosslessSV1) / "IM0000.dcm"
    content = path.read_bytes()
    cut = content.rindex(b"\xff\xd8")
    path.write_bytes(content[:cut] + content[cut + 20 :])
    with pytest.raises(InputError, match=str(path)):
        find_pixels(path)
    path.write_bytes(content[:-8])  # the end is missing alone, as in files of some programs
    assert find_pixels(path).bytes is None


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, "1.2.840.10008.1.2.4.80"])
def test_a_jpeg_image_of_more_bits_than_a_decoder_can_take(tmp_path: Path, syntax: str) -> None:
    """GDCM's decoder ended the program: the image's header had 72 bits, the elements 16."""
    path = save(tmp_path / "a", slices(a_scan((9, 8, 1))), syntax=syntax) / "IM0000.dcm"
    content = path.read_bytes()
    header = content.rindex(b"\xff\xc3" if syntax == JPEGLosslessSV1 else b"\xff\xf7")
    assert content[header + 4] == 16 and find_pixels(path).bytes is None
    path.write_bytes(content[: header + 4] + b"\x48" + content[header + 5 :])
    with pytest.raises(InputError, match=r"IM0000\.dcm.* 72 bits"):
        read_header(path.parent)


def test_run_lengths_without_segments(tmp_path: Path) -> None:
    """GDCM ended the program by a division by zero."""
    path = save(tmp_path / "a", slices(a_scan((9, 8, 1))), syntax="1.2.840.10008.1.2.5") / "IM0000.dcm"
    content = bytearray(path.read_bytes())
    first = content.rindex(b"\xfe\xff\x00\xe0") + 8
    assert content[first : first + 4] == struct.pack("<I", 2) and read_header(path.parent).size == (9, 8, 1)
    content[first : first + 4] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"IM0000\.dcm.* 0 segments"):
        read_header(path.parent)


def test_what_follows_the_pixels_is_within_the_file(tmp_path: Path) -> None:
    """GDCM took values of voxels for a length, because the pixels' own length was zero."""
    path = save(tmp_path / "a", slices(a_scan((9, 8, 1)))) / "IM0000.dcm"
    content = bytearray(path.read_bytes())
    length = content.rindex(b"\xe0\x7f\x10\x00OW") + 8
    content[length : length + 4] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"IM0000\.dcm"):
        find_pixels(path)
    padded = bytes(save(tmp_path / "b", slices(a_scan((9, 8, 1)))).joinpath("IM0000.dcm").read_bytes())
    path.write_bytes(padded + bytes(513))  # as some archives do
    assert find_pixels(path).bytes == PIXELS


@pytest.mark.parametrize("damage", ["cut", "bytes", "length"])
def test_damage_of_a_file_that_is_compressed_as_a_whole(tmp_path: Path, damage: str) -> None:
    made = slices(a_scan((9, 8, 1)))
    path = save(tmp_path / "a", made, syntax=DeflatedExplicitVRLittleEndian) / "IM0000.dcm"
    content = path.read_bytes()
    first = 144 + struct.unpack_from("<I", content, 140)[0]
    elements = zlib.decompress(content[first:], -zlib.MAX_WBITS)
    at = elements.rindex(b"\xe0\x7f\x10\x00OW") + 8
    longer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = longer.compress(elements[:at] + struct.pack("<I", 2**31) + elements[at + 4 :]) + longer.flush()
    rest = {"cut": content[first:-40], "bytes": b"\xff" * 100, "length": packed}[damage]
    path.write_bytes(content[:first] + rest)
    with pytest.raises(InputError, match=str(path)):
        find_pixels(path)


@pytest.mark.parametrize("syntax", [None, DeflatedExplicitVRLittleEndian])
def test_pixels_cut_short(tmp_path: Path, syntax: str | None) -> None:
    made = slices(a_scan((9, 8, 1)))
    made[0].Rows = 60_000
    folder = save(tmp_path / "a", made, syntax=syntax)
    with pytest.raises(InputError, match=f"{PIXELS} bytes .* {9 * 60_000 * 2}"):
        read_header(folder)


@pytest.mark.parametrize("syntax", [None, DeflatedExplicitVRLittleEndian])
def test_a_table_in_place_of_slope_and_intercept_is_named(tmp_path: Path, syntax: str | None) -> None:
    made = slices(a_scan((9, 8, 1)))
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [4, 0, 16], "HU", bytes(8)
    made[0].ModalityLUTSequence = [table]
    with pytest.raises(InputError, match=r"0028,3000"):
        read_header(save(tmp_path / "a", made, syntax=syntax))
