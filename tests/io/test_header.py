"""Headers that lie end in a message: nothing is allocated for voxels that cannot be there."""

import gzip
import re
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.machine import memory_bytes
from app.core.task import Case, Task
from app.data.doctor.examine import examine
from app.io.header import make_header
from app.io.volumes import read_header, read_volume

MHA = b"""ObjectType = Image
NDims = 3
BinaryData = True
CompressedData = False
DimSize = %s
ElementSpacing = 1 1 1
ElementType = MET_SHORT
ElementDataFile = %s
"""
NRRD = b"""NRRD0004
type: short
dimension: 3
sizes: %s
endian: little
encoding: raw
%s
"""


def nifti(path: Path, **fields: Any) -> Path:
    """A NIfTI file of 4x4x4 zeros with header fields overwritten."""
    header = nib.Nifti1Header()
    header.set_data_shape((4, 4, 4))
    header.set_sform(np.eye(4), code=1)
    for name, value in fields.items():
        header[name] = value
    with gzip.open(path, "wb") as stream:
        stream.write(header.binaryblock + bytes(4) + bytes(4 * 64))
    return path


def assert_refused(path: Path, *tokens: str) -> None:
    """Assert that a file is refused in one line with its path and the tokens, allocating less than 50 MB."""
    tracemalloc.start()
    for read in (read_header, read_volume):
        with pytest.raises(InputError, match=re.escape(str(path))) as error:
            read(path)
        assert "\n" not in str(error.value)
        for token in tokens:
            assert token in str(error.value).replace(str(path), "")
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_dimensions_no_file_of_that_size_can_hold(tmp_path: Path) -> None:
    gigantic = nifti(tmp_path / "a.nii.gz", dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
    assert_refused(gigantic, "(32767, 32767, 32767)", str(gigantic.stat().st_size))
    (tmp_path / "a.mha").write_bytes(MHA % (b"90000 90000 90000", b"LOCAL") + bytes(100))
    (tmp_path / "a.nrrd").write_bytes(NRRD % (b"90000 90000 90000", b"") + bytes(100))
    for path in (tmp_path / "a.mha", tmp_path / "a.nrrd"):
        assert_refused(path, "(90000, 90000, 90000)", "100 bytes")


@pytest.mark.parametrize("dim", [[3, -4, 4, 4, 1, 1, 1, 1], [3, 0, 4, 4, 1, 1, 1, 1]])
def test_sizes_below_one(tmp_path: Path, dim: list[int]) -> None:
    assert_refused(nifti(tmp_path / "a.nii.gz", dim=dim), str(tuple(dim[1:4])))


@pytest.mark.parametrize(
    ("dim", "found"),
    [
        ([1, 4, 4, 4, 1, 1, 1, 1], "(4,)"),
        ([-3, 4, 4, 4, 1, 1, 1, 1], ""),  # nibabel itself cannot read it, in words of its own
        ([5, 4, 4, 4, 2, 2, 1, 1], "(4, 4, 4, 2, 2)"),
    ],
)
def test_other_numbers_of_dimensions(tmp_path: Path, dim: list[int], found: str) -> None:
    assert_refused(nifti(tmp_path / "a.nii.gz", dim=dim), found)


@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0, 0.0], [np.nan, 0.0, 0.0, 0.0], [np.inf, 0.0, 0.0, 0.0]])
def test_affines_that_cannot_be_inverted(tmp_path: Path, row: list[float]) -> None:
    assert_refused(nifti(tmp_path / "a.nii.gz", srow_x=row), f"[{row}, [0.0, 1.0, 0.0, 0.0]")


def test_negative_spacing_is_read_by_its_size(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz", pixdim=[1, -2, 1, 1, 1, 1, 1, 1], sform_code=0)
    assert read_header(path).spacing == (2.0, 1.0, 1.0)


def test_voxels_that_are_no_numbers(tmp_path: Path) -> None:
    assert_refused(nifti(tmp_path / "a.nii.gz", datatype=128, bitpix=24), "'R'", "'G'", "'B'")
    assert_refused(nifti(tmp_path / "b.nii.gz", datatype=32, bitpix=64), "complex64")
    assert_refused(nifti(tmp_path / "c.nii.gz", datatype=999), "999")


@pytest.mark.parametrize("mm", [1e-12, 1e12])
def test_voxels_out_of_all_bounds(tmp_path: Path, mm: float) -> None:
    affine = np.diag([mm, mm, mm, 1.0])
    assert_refused(nifti(tmp_path / "a.nii.gz", srow_x=affine[0], srow_y=affine[1], srow_z=affine[2]))


def test_nothing_is_allocated_for_voxels_that_a_zipped_file_does_not_hold(tmp_path: Path) -> None:
    """60 MB that deflate could hold in a file of its size, so the header alone is no reason to refuse it."""
    said = (400, 400, 200)
    name = tmp_path / "a.nii.gz"
    nifti(name, dim=[3, *said, 1, 1, 1, 1], datatype=2, bitpix=8)
    name.write_bytes(name.read_bytes() + bytes(40_000))
    (tmp_path / "a.nrrd").write_bytes(
        NRRD.replace(b"raw", b"gzip") % (b"400 400 200", b"") + gzip.compress(bytes(40)) + bytes(80_000)
    )
    packed = MHA.replace(b"CompressedData = False", b"CompressedData = True\nCompressedDataSize = 80000")
    (tmp_path / "a.mha").write_bytes(
        packed % (b"400 400 200", b"LOCAL") + zlib.compress(bytes(40)) + bytes(80_000)
    )
    for path in (name, tmp_path / "a.nrrd", tmp_path / "a.mha"):
        assert read_header(path).size == said
        tracemalloc.start()
        with pytest.raises(InputError, match=re.escape(str(path))):
            read_volume(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
        tracemalloc.stop()


@pytest.mark.e2e
def test_whatever_a_header_says_ends_in_facts_or_one_line(tmp_path: Path) -> None:
    """Some bytes of a sound header overwritten at random, two hundred times over."""
    sound = gzip.decompress(nifti(tmp_path / "a.nii.gz", scl_slope=1, qform_code=1).read_bytes())
    rng = np.random.default_rng(0)
    path, faults = tmp_path / "a.nii", 0
    task = Task("Task", ("CT",), ("background", "a"), ())
    for _ in range(200):
        content = bytearray(sound)
        for place in rng.integers(0, 352, size=rng.integers(1, 6)):
            content[place] = rng.integers(0, 256)
        path.write_bytes(content)
        found = examine(Case("a", path, path), task)
        faults += bool(found.image_fault)
        assert (found.image is None) == bool(found.image_fault) and "\n" not in found.image_fault
    assert 10 < faults < 190


def test_more_voxels_than_this_machine_holds(tmp_path: Path) -> None:
    side = round((memory_bytes() / 4) ** (1 / 3)) + 1
    affine: NDArray[np.float64] = np.eye(4)
    with pytest.raises(InputError, match=re.escape(str(tmp_path))) as error:
        make_header(
            tmp_path, (side, side, side), affine=affine, dtype=np.dtype(np.int16), stored_bytes=10**12
        )
    for token in (
        str((side, side, side)),
        f"{4 * side**3 / 1e9:.0f} GB",
        f"{memory_bytes() / 1e9:.0f} GB",
    ):
        assert token in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mha", MHA % (b"4 4 4", b"../secret.raw")),
        ("a.nrrd", NRRD % (b"4 4 4", b"data file: ../secret.raw\n")),
    ],
)
def test_voxels_in_another_file_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """The other file exists and has the right size, so SimpleITK alone would read it."""
    (tmp_path / "secret.raw").write_bytes(bytes(2 * 4**3))
    path = tmp_path / "scans" / name
    path.parent.mkdir()
    path.write_bytes(content)
    assert sitk.ReadImage(str(path)).GetSize() == (4, 4, 4)
    assert_refused(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("content", [b"", b"x" * 1000, bytes(1000)])
def test_files_that_are_nothing(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert_refused(tmp_path / name)
