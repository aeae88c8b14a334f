"""Bytes of a packed file are counted, over several members and up to the first damage, and must be whole."""

import gzip
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app.core.errors import InputError
from app.io.packed import refuse_damaged, refuse_hollow
from app.io.volumes import read_volume, write_voxels


@pytest.mark.parametrize("size", [1, 5_000_003])
def test_members_and_streams_are_counted(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    contents = {
        gzip.compress(bytes(size)): size,
        gzip.compress(bytes(size)) + gzip.compress(b"x" * size): 2 * size,
        zlib.compress(bytes(size)): size,
        gzip.compress(bytes(size)) + b"no member": size,
    }
    for content, held in contents.items():
        path.write_bytes(content)
        refuse_hollow(path, path, held)
        with pytest.raises(InputError, match=str(held)):
            refuse_hollow(path, path, max(held + 1, 10 * path.stat().st_size + 1))


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_stream_is_whole_up_to_its_checksum(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    voxels = np.random.default_rng(0).integers(0, 99, 3_000_000, dtype=np.uint8).tobytes()
    packed, path = pack(voxels), tmp_path / "a"
    path.write_bytes(b"head" + packed + b"tail")
    assert refuse_damaged(path, path, len(voxels), start=4) == len(packed)
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 1
    for content, wanted in (
        (bytes(flipped), len(voxels)),
        (packed[:-1], len(voxels)),
        (packed[:-4] + bytes(4), len(voxels)),  # another checksum
        (packed, len(voxels) + 1),
        (packed, 1),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=re.escape(str(path))):
            refuse_damaged(path, path, wanted, start=4)


def test_members_are_one_stream(tmp_path: Path) -> None:
    packed, path = gzip.compress(bytes(7)) + gzip.compress(b"x" * 5), tmp_path / "a"
    path.write_bytes(packed)
    assert refuse_damaged(path, path, 12) == len(packed)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.nrrd", "a.mhd", "a.nhdr"])
def test_a_damaged_byte_of_voxels_is_never_read_as_another_value(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    scan = rng.integers(-900, 1200, (20, 16, 12)).astype(np.int16)
    like = tmp_path / "like.nii.gz"
    nib.save(nib.Nifti1Image(scan, np.eye(4)), like)
    path = tmp_path / "out" / name
    write_voxels(path, scan, like)
    np.testing.assert_array_equal(read_volume(path).voxels[0], scan)
    (file,) = [other for other in path.parent.iterdir() if other != path] or [path]
    whole = file.read_bytes()
    for place in rng.integers(700, len(whole), 20):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=re.escape(str(path))):
            read_volume(path)
    file.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_volume(path)


def test_the_size_of_compressed_voxels_is_that_of_the_header(tmp_path: Path) -> None:
    like, path = tmp_path / "like.nii.gz", tmp_path / "a.mha"
    nib.save(nib.Nifti1Image(np.arange(480, dtype=np.int16).reshape(10, 8, 6), np.eye(4)), like)
    write_voxels(path, np.asarray(nib.load(like).dataobj), like)
    whole = path.read_bytes()
    size = re.search(rb"CompressedDataSize = (\d+)\n", whole)
    assert size is not None
    for text in (b"", b"CompressedDataSize = 0\n", b"CompressedDataSize = %d\n" % (int(size[1]) - 1)):
        path.write_bytes(whole.replace(size[0], text))
        with pytest.raises(InputError, match="CompressedDataSize"):
            read_volume(path)
