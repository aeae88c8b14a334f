"""Downloading a task's archive: interrupted downloads resume, the file is checked and unpacked."""

import math
import os
import re
import ssl
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import NoReturn
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from app.core.digest import digest_of_file
from app.core.errors import InputError
from app.core.files import writing
from app.core.progress import progress_bar
from app.core.temporary import temporary_folder
from app.data.sets.dataset_json import DATASET_JSON
from app.data.sets.extract import MB, extract_tar, require_space

TIMEOUT_S = 30.0  # seconds without any data, not for the whole file
ATTEMPTS = 5  # attempts in a row without a new byte; their pauses add up to 15 s
PAUSE_S = 1.0  # pause before the second attempt, doubled before each further one
CHUNK_BYTES = 65_536  # bytes lost at most if a connection breaks
BROKEN = (URLError, HTTPException, ssl.SSLError, ConnectionError, TimeoutError)
PASSING = frozenset({408, 429, 500, 502, 503, 504})  # HTTP statuses of errors that may be temporary
# Most that an archive may grow when unpacked, as a factor. A plain tar does not grow; a gzipped tar of raw
# volumes grows 2 to 4 times, one of label maps more.
MAX_GROWTH = 10
# Ten times the members of the largest Decathlon task: about 1250 files and a hidden `._` file for each.
MAX_FILES = 25_000


@dataclass(frozen=True)
class Archive:
    """A file on the web: its http(s) address, its checksum (`md5:<hex>` or `sha256:<hex>`), and its size."""

    url: str
    checksum: str
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise InputError(f"archive address {self.url!r}: wanted http:// or https://")
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise InputError(f"archive address {self.url!r}: does not end in a plain file name")
        if not re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", self.checksum):
            raise InputError(f"{self.url}: got checksum {self.checksum!r}, wanted md5:<hex> or sha256:<hex>")

    @property
    def name(self) -> str:
        return PurePosixPath(unquote(urlsplit(self.url).path)).name


def fetch_task(archive: Archive, data_folder: Path, task_folder_name: str) -> Path:
    """Return the task's folder in `data_folder`; download and unpack the archive if there is no such folder.

    The archive is removed after it is unpacked.

    Raises:
        InputError: the archive cannot be downloaded or unpacked, or does not hold the Decathlon task.
    """
    task = data_folder / task_folder_name
    if not task.exists():
        with writing(data_folder):
            data_folder.mkdir(parents=True, exist_ok=True)
        tar = download(archive, data_folder)
        with writing(task), temporary_folder(data_folder / "fetching") as temporary:
            max_bytes = MAX_GROWTH * tar.stat().st_size
            unpacked = extract_tar(tar, temporary, max_bytes=max_bytes, max_files=MAX_FILES)
            if unpacked.name != task.name:
                raise InputError(f"{tar}: got folder {unpacked.name!r}, wanted {task.name!r}")
            _require_dataset_json(unpacked, where=tar)
            unpacked.rename(task)
        tar.unlink()
    _require_dataset_json(task, where=task)
    return task


def download(archive: Archive, folder: Path) -> Path:
    """Download the archive into `folder` and return the checked file; an earlier `<name>.part` is continued.

    An existing file of that name, for example one downloaded by hand, is checked and not downloaded again.

    Raises:
        InputError: the server or the connection fails, the disk is full, or size or checksum is wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / archive.name, _Part(folder / f"{archive.name}.part")
    if target.exists():
        _require_checksum(archive, target, "remove it to download it again")
        return target
    _fetch(archive, part, by_hand=f"or download it yourself, save it as {target} and start again")
    _settle(archive, part, target)
    return target


@dataclass(frozen=True)
class _Part:
    """A partly downloaded file; a file next to it holds the server's tag (ETag) of its version."""

    path: Path

    @property
    def tag_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.etag")

    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.tag_path.unlink(missing_ok=True)


def _require_dataset_json(task: Path, *, where: Path) -> None:
    if not (task / DATASET_JSON).is_file():
        raise InputError(f"{where}: has no dataset.json, wanted a Decathlon task; remove it to start again")


def _require_checksum(archive: Archive, path: Path, remedy: str) -> None:
    algorithm, wanted = archive.checksum.split(":")
    got = digest_of_file(path, algorithm)
    if got != wanted:
        raise InputError(f"{path}: got {algorithm} {got}, wanted {wanted} (from {archive.url}); {remedy}")


def _settle(archive: Archive, part: _Part, target: Path) -> None:
    """Rename the complete file to `target` if its checksum is right; else delete it."""
    try:
        _require_checksum(archive, part.path, "it was deleted; run the same command to download it again")
    except InputError:
        part.discard()
        raise
    part.path.replace(target)
    part.discard()


def _fetch(archive: Archive, part: _Part, *, by_hand: str) -> None:
    """Download until the whole file is in `part`; give up after ATTEMPTS in a row without a new byte."""
    reached, failures = part.size_bytes(), 0
    while True:
        try:
            return _fetch_rest(archive, part)
        except BROKEN as error:
            failures = 1 if part.size_bytes() > reached else failures + 1
            reached = max(reached, part.size_bytes())
            lasting = isinstance(error, HTTPError) and error.code not in PASSING
            if lasting or failures == ATTEMPTS:
                raise InputError(
                    f"{archive.url}: {error}; run the same command to continue, {by_hand}"
                ) from error
            time.sleep(PAUSE_S * 2 ** (failures - 1))


def _fetch_rest(archive: Archive, part: _Part) -> None:
    start = part.size_bytes()
    try:
        response = _ask(archive.url, part, start)
    except HTTPError as error:
        if error.code != 416:
            raise
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return  # the part is complete
        part.discard()
        raise ConnectionError(f"the server has no data from byte {start} on") from error
    with response:
        _append(archive, part, response, _agreed_start(part, response, start))


def _ask(url: str, part: _Part, start: int) -> HTTPResponse:
    """Request the bytes from `start` on; with a tag, the server sends the whole file if it has changed."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and part.tag_path.exists():
        headers["If-Range"] = part.tag_path.read_text(encoding="ascii")
    wanted = request.Request(url, headers=headers)
    response: HTTPResponse = request.build_opener(_NoFtp).open(wanted, timeout=TIMEOUT_S)
    return response


class _NoFtp(request.FTPHandler):
    """A replacement for urllib's FTP handler that refuses redirects to FTP."""

    def ftp_open(self, req: request.Request) -> NoReturn:
        raise URLError(f"redirected to {req.full_url}")


def _agreed_start(part: _Part, response: HTTPResponse, start: int) -> int:
    """Return the offset at which the response begins.

    That is `start`, or 0 if the server sends the whole file; then the part is discarded first.
    """
    content_range = response.headers.get("Content-Range", "")
    if response.status == 206 and content_range.startswith(f"bytes {start}-"):
        return start
    part.discard()
    if response.status != 200:
        raise ConnectionError(f"asked for bytes from {start} on, got {response.status} {content_range}")
    tag = response.headers.get("ETag", "")
    if tag.startswith('"') and tag.isascii():  # a weak one, W/"...", does not promise equal bytes
        part.tag_path.write_text(tag, encoding="ascii")
    return 0


def _append(archive: Archive, part: _Part, response: HTTPResponse, start: int) -> None:
    done, total = start, _total_bytes(archive, response, start)
    require_space(part.path.parent, total - start, f"fetching {archive.name}")
    bar = progress_bar(f"downloading {archive.name} [MB]", math.ceil(total / MB), done=math.ceil(start / MB))
    with part.path.open("ab") as file, bar as advance:
        while chunk := response.read(min(CHUNK_BYTES, total + 1 - done)):  # one more byte shows excess data
            file.write(chunk)
            advance(math.ceil((done + len(chunk)) / MB) - math.ceil(done / MB))
            done += len(chunk)
        os.fsync(file.fileno())
    if done > total:
        part.discard()
        raise InputError(f"{archive.url}: the server sends more than the {total} bytes wanted")
    if done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _total_bytes(archive: Archive, response: HTTPResponse, start: int) -> int:
    """Return the size of the whole file, from the settings or the server.

    Without either there would be no limit on the data received.

    Raises:
        InputError: neither gives a size, or they differ.
    """
    offered = None if response.length is None else start + response.length
    wanted = offered if archive.size_bytes is None else archive.size_bytes
    if wanted is None:
        raise InputError(f"{archive.url}: the server does not send the size; set task.archive.size_bytes")
    if offered not in (None, wanted):
        raise InputError(f"{archive.url}: the server offers {offered} bytes, wanted {wanted}")
    return wanted
