"""What decoders print is kept from the terminal, and damage that they name is an error."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom")
import pydicom
from pydicom.uid import JPEGLosslessSV1

from app.core.errors import InputError
from app.io.decoding import decoding
from app.io.volumes import read_volume
from tests.support.dicom import TO_MM, save, slices


def test_lines_of_decoders_are_hidden_and_others_are_not(capfd: pytest.CaptureFixture[str]) -> None:
    with decoding(Path("a.dcm")):
        os.write(2, b"Bogus Huffman table definition\nfrom elsewhere\n")
        os.write(2, b"Corrupt JPEG data: 2 extraneous bytes before marker 0xd9\n")
    assert capfd.readouterr().err == "from elsewhere\n"
    with pytest.raises(InputError, match=r"a\.dcm"), decoding(Path("a.dcm")):
        os.write(2, b"Corrupt JPEG data: premature end of data segment\n")
    with pytest.raises(KeyError), decoding(Path("a.dcm")):
        os.write(2, b"Corrupt JPEG data: bad Huffman code\n")
        raise KeyError
    os.write(2, b"as before\n")
    assert capfd.readouterr().err == "as before\n"


def test_a_damaged_image_is_refused_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The second half of a slice's stream is gone, so a decoder has nothing for these voxels."""
    scan = np.random.default_rng(0).integers(0, 4000, (24, 20, 3)).astype(np.int16)
    folder = save(tmp_path / "ct", slices(scan, TO_MM), syntax=JPEGLosslessSV1)
    np.testing.assert_array_equal(read_volume(folder).voxels[0], scan)
    path = folder / "IM0001.dcm"
    data = pydicom.dcmread(path)
    stream = bytearray(data.PixelData)
    middle = len(stream) // 2
    stream[middle : middle + 2] = b"\xff\xd9"  # the end of an image
    data.PixelData = bytes(stream)
    data.save_as(path)
    with pytest.raises(InputError, match="ct"):
        read_volume(folder)
    assert capfd.readouterr() == ("", "")
