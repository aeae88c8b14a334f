"""Unpacking of archives, also of damaged ones and of those that mean harm."""

import errno
import gzip
import os
import re
import tarfile
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.data.sets import extract as extract_module
from app.data.sets.extract import extract_tar
from tests.support.archives import GOOD, folder_member, member, names, tar_bytes

ESCAPED = Path(tempfile.gettempdir()) / f"escaped-{uuid.uuid4().hex}"


def sparse_bomb() -> tarfile.TarInfo:
    """One stored byte that unpacks to 10 GB."""
    claims = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "10000000000"}
    return member("Task/bomb", size=1, pax_headers=claims)


def hostile(content: bytes, tokens: str | list[str], name: str) -> object:
    """An archive that breaks a rule of ours: its message holds the tokens."""
    return pytest.param(content, [tokens] if isinstance(tokens, str) else tokens, None, id=name)


def damaged(content: bytes, cause: type[Exception], name: str, *tokens: str) -> object:
    """An archive that a library or the disk refuses: its message passes on what that says."""
    return pytest.param(content, list(tokens), cause, id=name)


LIMITS = ["100000", "20"]  # bytes and members, as the test below sets them

HOSTILE = [
    hostile(tar_bytes(*GOOD, member("Task/l", type=tarfile.SYMTYPE, linkname="/etc")), "'Task/l'", "symlink"),
    hostile(
        tar_bytes(*GOOD, member("Task/._l", type=tarfile.SYMTYPE, linkname="../..")),
        "'Task/._l'",
        "hidden symlink",
    ),
    hostile(
        tar_bytes(*GOOD, member("Task/l", type=tarfile.LNKTYPE, linkname="Task/dataset.json")),
        "'Task/l'",
        "hardlink",
    ),
    hostile(
        tar_bytes(*GOOD, member("Task/d", type=tarfile.CHRTYPE, devmajor=1)), "'Task/d'", "character device"
    ),
    hostile(tar_bytes(*GOOD, member("Task/d", type=tarfile.BLKTYPE)), "'Task/d'", "block device"),
    hostile(tar_bytes(*GOOD, member("Task/f", type=tarfile.FIFOTYPE)), "'Task/f'", "fifo"),
    hostile(tar_bytes(*GOOD, member("Task/u", type=b"Z")), "'Task/u'", "unknown type"),
    hostile(tar_bytes(*GOOD, ("Task/../../escaped", b"x")), "'Task/../../escaped'", "parent folder"),
    hostile(tar_bytes(*GOOD, ("..", b"x")), "'..'", "only a parent folder"),
    hostile(tar_bytes(*GOOD, (str(ESCAPED), b"x")), repr(str(ESCAPED)), "absolute"),
    hostile(tar_bytes(*GOOD, ("//host/escaped", b"x")), "'//host/escaped'", "network share"),
    hostile(tar_bytes(*GOOD, ("C:escaped", b"x")), "'C:escaped'", "drive letter"),
    hostile(tar_bytes(*GOOD, ("Task\\..\\..\\escaped", b"x")), repr("Task\\..\\..\\escaped"), "backslash"),
    hostile(
        tar_bytes(*GOOD, member("Task/n", pax_headers={"path": "Task/a\0b"})),
        repr("Task/a\0b"),
        "NUL in a long name",
    ),
    hostile(tar_bytes(*GOOD, ("Task/a\nb", b"x")), repr("Task/a\nb"), "new line"),
    hostile(
        tar_bytes(*GOOD, ("Task/big", b"0" * 100_001)), [*LIMITS, "101031", "'Task/big'"], "bomb by size"
    ),
    hostile(
        tar_bytes(*GOOD, ("Task/._big", b"0" * 100_001)), [*LIMITS, "101031", "'Task/._big'"], "hidden bomb"
    ),
    hostile(
        tar_bytes(*GOOD, *[(f"Task/{i}", b"0" * 30_000) for i in range(4)]),
        [*LIMITS, "121030", "'Task/3'"],
        "bomb by sum",
    ),
    hostile(
        tar_bytes(*GOOD, *[(f"Task/{i}", b"") for i in range(30)]),
        [*LIMITS, "21", "'Task/13'"],
        "bomb by count",
    ),
    hostile(
        tar_bytes(*GOOD, *[folder_member(f"Task/{i}") for i in range(30)]),
        [*LIMITS, "21", "'Task/13'"],
        "folder bomb",
    ),
    hostile(
        gzip.compress(tar_bytes(*GOOD, ("Task/big", bytes(20_000_000)))),
        [*LIMITS, "20001030", "'Task/big'"],
        "gzip bomb",
    ),
    hostile(tar_bytes(*GOOD, sparse_bomb()), [*LIMITS, "10000001030", "'Task/bomb'"], "sparse bomb"),
    damaged(
        gzip.compress(tar_bytes(*GOOD, member("Task/h", pax_headers={"comment": "0" * 20_000_000}))),
        tarfile.ReadError,
        "header bomb",
        str(extract_module.HEADER_BYTES),
    ),
    hostile(tar_bytes(*GOOD, ("Task/dataset.json", b"[]")), "'Task/dataset.json'", "duplicate"),
    hostile(tar_bytes(*GOOD, ("Task/imagesTr", b"x")), "'Task/imagesTr'", "file named as a folder"),
    hostile(
        tar_bytes(*GOOD, folder_member("Task/dataset.json")), "'Task/dataset.json'", "folder named as a file"
    ),
    hostile(tar_bytes(*GOOD, ("Task/dataset.json/x", b"x")), "'Task/dataset.json/x'", "file inside a file"),
    hostile(tar_bytes(*GOOD, ("Other/file", b"x")), ["'Other'", "'Task'"], "two top-level folders"),
    hostile(tar_bytes(*GOOD, ("file", b"x")), ["'file'", "'Task'"], "file at the top level"),
    hostile(tar_bytes(("Task", b"x")), "'Task'", "only a file"),
    hostile(tar_bytes(("._Task", b"x")), [], "only hidden members"),
    hostile(tar_bytes(), [], "no members"),
    damaged(b"", tarfile.ReadError, "empty file"),
    damaged(b"<html>not found</html>" * 100, tarfile.ReadError, "no archive"),
    damaged(tar_bytes(*GOOD)[:-11_000], tarfile.ReadError, "truncated inside a member"),
    damaged(
        tar_bytes(("Task/a", b"a" * 512), ("Task/b", b""))[:1024], tarfile.ReadError, "truncated between"
    ),
    damaged(
        tar_bytes(*GOOD).replace(b"Task/imagesTr", b"Task/imagesXX"), tarfile.ReadError, "damaged header"
    ),
    damaged(gzip.compress(tar_bytes(*GOOD))[:-200], EOFError, "truncated gzip"),
    damaged(
        tar_bytes(*GOOD, ("Task/" + "n" * 300, b"x")),
        OSError,
        "name too long for the disk",
        os.strerror(errno.ENAMETOOLONG),
    ),
]


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["tar", "tar.gz"])
def test_a_good_archive_becomes_its_folder(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    (tmp_path / "in.tar").write_bytes(compress(tar_bytes(*GOOD)))
    task = extract_tar(tmp_path / "in.tar", tmp_path / "data", max_bytes=100_000, max_files=20)
    assert task == tmp_path / "data" / "Task"
    assert names(tmp_path / "data") == [
        "Task",
        "Task/dataset.json",
        "Task/imagesTr",
        "Task/imagesTr/a.nii.gz",
    ]
    assert (task / "imagesTr/a.nii.gz").read_bytes() == b"a" * 1000


def test_modes_of_the_archive_are_ignored(tmp_path: Path) -> None:
    content = tar_bytes(member("Task", type=tarfile.DIRTYPE, mode=0), member("Task/run", size=1, mode=0o6777))
    (tmp_path / "in.tar").write_bytes(content)
    task = extract_tar(tmp_path / "in.tar", tmp_path / "data", max_bytes=100, max_files=2)
    assert (task / "run").stat().st_mode & 0o7111 == 0  # no set-id and no execute bits


@pytest.mark.parametrize(("content", "tokens", "cause"), HOSTILE)
def test_a_hostile_archive_leaves_nothing_behind(
    tmp_path: Path, content: bytes, tokens: list[str], cause: type[Exception] | None
) -> None:
    inside = tmp_path / "a" / "b" / "data"
    inside.mkdir(parents=True)
    (tmp_path / "in.tar").write_bytes(content)
    before = names(tmp_path)
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "in.tar"))) as caught:
        extract_tar(tmp_path / "in.tar", inside, max_bytes=100_000, max_files=20)
    found = str(caught.value).replace(str(tmp_path), "")
    assert "\n" not in found
    for token in tokens:
        assert re.search(rf"(?<!\d){re.escape(token)}(?!\d)", found)
    if cause is None:
        assert caught.value.__cause__ is None
        assert tokens or "._Task" not in found  # without a rule that it breaks, no member is named
    else:
        assert isinstance(caught.value.__cause__, cause) and str(caught.value.__cause__) in str(caught.value)
    assert names(tmp_path) == before
    assert not ESCAPED.exists()


def test_a_folder_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "in.tar").write_bytes(tar_bytes(*GOOD))
    (tmp_path / "data" / "Task").mkdir(parents=True)
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "data" / "Task"))):
        extract_tar(tmp_path / "in.tar", tmp_path / "data", max_bytes=100_000, max_files=20)
    assert names(tmp_path / "data") == ["Task"]
