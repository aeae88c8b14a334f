"""Unpacking an untrusted tar archive, member by member, completely or not at all.

Only regular files and folders are created, so no link can lead out of the folder. The extraction filters of
the standard library are not used, because CVE-2025-4517 bypassed them.
"""

import gzip
import math
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, BufferedReader
from pathlib import Path, PurePosixPath
from typing import Self

from app.core.errors import InputError
from app.core.progress import Advance, progress_bar
from app.core.temporary import temporary_folder

MB = 1_000_000
GZIP_MAGIC = b"\x1f\x8b"
# Most bytes of headers between the data of two members: a long name (paths have at most 4 KiB) and a few
# attributes. tarfile reads headers into memory and recurses per header, so this bounds both.
HEADER_BYTES = 65_536


def extract_tar(archive: Path, folder: Path, *, max_bytes: int, max_files: int) -> Path:
    """Unpack a .tar or .tar.gz with one top-level folder into `folder`; return the unpacked folder.

    Hidden members (macOS adds `._name` to every file) are left out; owners and modes are ignored. The limits
    count every member, including hidden ones and folders.

    Raises:
        InputError: the archive is damaged or malicious, a limit is exceeded, the disk is full, or the folder
            exists. Nothing of the archive is left on disk in these cases.
    """
    folder.mkdir(parents=True, exist_ok=True)
    require_space(folder, archive.stat().st_size, f"unpacking {archive.name}")
    with temporary_folder(folder / "unpacking") as temporary:
        with _damage_as_input_error(archive):
            _unpack(archive, temporary, max_bytes=max_bytes, max_files=max_files)
        return _move_out(archive, temporary, folder)


def require_space(folder: Path, size_bytes: int, purpose: str) -> None:
    """Check that the disk of `folder` has enough free space.

    Raises:
        InputError: fewer than `size_bytes` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < size_bytes:
        raise InputError(f"{folder}: {purpose} needs {size_bytes / MB:.0f} MB, {free / MB:.0f} MB are free")


def _unpack(archive: Path, folder: Path, *, max_bytes: int, max_files: int) -> None:
    unpacked_bytes = 0
    with _opened(archive) as (tar, stream):
        for count, member in enumerate(tar, start=1):
            _refuse_faulty(archive, member)
            unpacked_bytes += member.size
            if unpacked_bytes > max_bytes or count > max_files:
                raise InputError(
                    f"{archive}: {count} members with {unpacked_bytes} bytes by {member.name!r}, "
                    f"the limit is {max_files} members and {max_bytes} bytes"
                )
            stream.allowed_bytes = member.size + HEADER_BYTES
            parts = PurePosixPath(member.name).parts
            if not any(part.startswith(".") for part in parts):
                _write(archive, tar, member, folder.joinpath(*parts))


def _refuse_faulty(archive: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    faults = {
        "is neither a regular file nor a folder": not (member.isreg() or member.isdir()),
        "has a negative size": member.size < 0,
        "has unprintable characters in its name": not member.name.isprintable(),
        "has a backslash or a colon in its name": "\\" in member.name or ":" in member.name,
        "leads out of the folder": path.is_absolute() or ".." in path.parts,
    }
    for fault, found in faults.items():
        if found:
            raise InputError(f"{archive}: member {member.name!r} {fault}; nothing was unpacked")


def _write(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write one member.

    Raises:
        InputError: another member has the same name, or differs in case only and the file system ignores
            case.
    """
    try:
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(tar, member, target)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{archive}: two members claim the name {member.name!r}") from None


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Copy exactly the `member.size` bytes that count towards the limit, with holes of sparse files."""
    source = tar.extractfile(member)
    assert source is not None, "only regular files are expected here"
    left = member.size
    with target.open("xb") as file:
        while left:
            chunk = source.read(min(left, MB))
            if not chunk:
                raise tarfile.ReadError(f"{member.name!r} ends {left} bytes early")
            file.write(chunk)
            left -= len(chunk)


def _move_out(archive: Path, temporary: Path, folder: Path) -> Path:
    entries = sorted(temporary.iterdir())
    if len(entries) != 1 or not entries[0].is_dir():
        names = ", ".join(repr(entry.name) for entry in entries[:5]) or "nothing"
        raise InputError(f"{archive}: got {names} at the top level, wanted exactly one folder")
    target = folder / entries[0].name
    if target.exists() or target.is_symlink():
        raise InputError(f"{target}: exists already; remove it to unpack {archive} again")
    return entries[0].rename(target)


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[tarfile.TarFile, "_Stream"]]:
    """Open the archive for one sequential pass, with a progress bar in MB of the archive."""
    total = math.ceil(archive.stat().st_size / MB)
    with archive.open("rb") as file, progress_bar(f"unpacking {archive.name} [MB]", total) as advance:
        stream = _Stream(file, advance)
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as tar:
            yield tar, stream


@contextmanager
def _damage_as_input_error(archive: Path) -> Iterator[None]:
    """Convert errors of the tar, gzip and file layers (bad bytes, a full disk) into one InputError."""
    try:
        yield
    except InputError:
        raise
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OSError) as error:
        raise InputError(f"{archive}: cannot be unpacked ({error}); nothing was unpacked") from error


class _Stream(BufferedIOBase):
    """A stream that raises ReadError beyond the announced sizes of members, to bound the size of headers."""

    def __init__(self, file: BufferedReader, advance: Advance) -> None:
        zipped = file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        self._source = gzip.GzipFile(fileobj=file) if zipped else file
        self._file, self._advance = file, advance
        self.allowed_bytes, self._shown_mb = HEADER_BYTES, 0

    def read(self, size: int | None = -1, /) -> bytes:
        block = self._source.read(size)
        self.allowed_bytes -= len(block)
        if self.allowed_bytes < 0:
            raise tarfile.ReadError(f"more than {HEADER_BYTES} bytes of headers between two members")
        read_mb = math.ceil(self._file.tell() / MB)
        if read_mb > self._shown_mb:
            self._advance(read_mb - self._shown_mb)
            self._shown_mb = read_mb
        return block


class _Header(tarfile.TarInfo):
    """The header of an archive's member; a damaged or missing one raises ReadError.

    Without this class tarfile takes it for the end of the archive.
    """

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the regular end; missing in typeshed
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {tarfile_.offset}") from error
