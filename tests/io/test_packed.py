"""Bytes of a packed file are counted, over several members and up to the first damage."""

import gzip
import zlib
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.io.packed import refuse_hollow


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
        path.write_bytes(b"head" + content)
        refuse_hollow(path, path, held, start=4)
        with pytest.raises(InputError, match=str(held)):
            refuse_hollow(path, path, max(held + 1, 10 * path.stat().st_size + 1), start=4)
