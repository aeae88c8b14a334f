"""Fetching and unpacking: a real server on loopback that misbehaves, and archives that mean harm."""

import errno
import gzip
import hashlib
import io
import os
import re
import tarfile
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.data.sets import download as download_module
from app.data.sets import extract as extract_module
from app.data.sets.download import Archive, download, fetch_task
from app.data.sets.extract import extract_tar

BODY = bytes(range(256)) * 3000  # 768,000 bytes
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"
ESCAPED = Path(tempfile.gettempdir()) / f"escaped-{uuid.uuid4().hex}"


@dataclass
class Site:
    """What the server gives and how it misbehaves; `asked` holds (Range, If-Range) of every request."""

    body: bytes = BODY
    etag: str | None = '"v1"'
    status: int = 200
    knows_range: bool = True
    tells_length: bool = True
    drop_after: list[int] = field(default_factory=list)  # bytes before hanging up, one entry per request
    redirect: str | None = None
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)
    url: str = ""

    def archive(self, checksum: str = MD5, size_bytes: int | None = None) -> Archive:
        return Archive(self.url, checksum, size_bytes)


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range")
        site.asked.append((wanted, self.headers.get("If-Range")))
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and site.knows_range else 0
        if self.headers.get("If-Range") not in (None, site.etag):
            start = 0
        if start >= len(site.body) > 0:
            self.answer(416, {"Content-Range": f"bytes */{len(site.body)}"}, b"")
        elif start:
            span = f"bytes {start}-{len(site.body) - 1}/{len(site.body)}"
            self.answer(206, {"Content-Range": span}, site.body[start:])
        elif site.redirect:
            self.answer(302, {"Location": site.redirect}, b"")
        else:
            self.answer(site.status, {}, site.body)

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        if self.site.tells_length:
            headers["Content-Length"] = str(len(body))
        if self.site.etag:
            headers["ETag"] = self.site.etag
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: self.site.drop_after.pop(0)] if self.site.drop_after else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(download_module, "PAUSE_S", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": site}))
    site.url = f"http://127.0.0.1:{server.server_port}/some/Task99_Test.tar"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# --- fetching -------------------------------------------------------------------------------------------


def test_a_whole_file_takes_its_name_and_leaves_nothing_beside_it(site: Site, tmp_path: Path) -> None:
    sha256 = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
    target = download(site.archive(sha256, len(BODY)), tmp_path / "new" / "data")
    assert target == tmp_path / "new" / "data" / "Task99_Test.tar"
    assert target.read_bytes() == BODY
    assert names(target.parent) == ["Task99_Test.tar"]


def test_a_file_fetched_by_hand_is_checked_and_not_fetched(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "Task99_Test.tar"
    target.write_bytes(BODY)
    assert download(site.archive(), tmp_path) == target
    target.write_bytes(b"other")
    with pytest.raises(InputError, match=re.escape(str(target))) as error:
        download(site.archive(), tmp_path)
    for digest in (hashlib.md5(b"other").hexdigest(), hashlib.md5(BODY).hexdigest()):  # found, wanted
        assert digest in str(error.value)
    assert target.read_bytes() == b"other"  # the user's own file is not ours to delete
    assert site.asked == []


def test_broken_connections_are_resumed_where_they_broke(site: Site, tmp_path: Path) -> None:
    site.drop_after = [300_000, 100_000]
    assert download(site.archive(), tmp_path).read_bytes() == BODY
    assert site.asked == [(None, None), ("bytes=300000-", '"v1"'), ("bytes=400000-", '"v1"')]
    assert names(tmp_path) == ["Task99_Test.tar"]


def test_breaks_that_bring_something_are_not_counted_together(site: Site, tmp_path: Path) -> None:
    site.drop_after = [100_000] * 7
    assert download(site.archive(), tmp_path).read_bytes() == BODY
    assert len(site.asked) == 8


def test_a_later_run_goes_on_from_the_part(site: Site, tmp_path: Path) -> None:
    (tmp_path / "Task99_Test.tar.part").write_bytes(BODY[:500_000])
    assert download(site.archive(), tmp_path).read_bytes() == BODY
    assert site.asked == [("bytes=500000-", None)]


def test_a_file_changed_on_the_server_is_fetched_afresh(site: Site, tmp_path: Path) -> None:
    (tmp_path / "Task99_Test.tar.part").write_bytes(b"old" * 1000)
    (tmp_path / "Task99_Test.tar.part.etag").write_text('"v0"')
    assert download(site.archive(), tmp_path).read_bytes() == BODY
    assert site.asked == [("bytes=3000-", '"v0"')]


def test_a_weak_tag_is_not_relied_upon(site: Site, tmp_path: Path) -> None:
    site.etag, site.drop_after = 'W/"v1"', [300_000]
    assert download(site.archive(), tmp_path).read_bytes() == BODY
    assert site.asked == [(None, None), ("bytes=300000-", None)]


def test_a_server_without_ranges_starts_over(site: Site, tmp_path: Path) -> None:
    site.knows_range, site.drop_after = False, [300_000]
    assert download(site.archive(), tmp_path).read_bytes() == BODY
    assert len(site.asked) == 2


@pytest.mark.parametrize(("part", "requests"), [(BODY, 1), (BODY + b"more", 2)])
def test_nothing_left_to_send(site: Site, tmp_path: Path, part: bytes, requests: int) -> None:
    (tmp_path / "Task99_Test.tar.part").write_bytes(part)
    assert download(site.archive(), tmp_path).read_bytes() == BODY
    assert len(site.asked) == requests


def test_a_wrong_checksum_is_named_and_deletes_the_part(site: Site, tmp_path: Path) -> None:
    wanted = "0" * 32
    with pytest.raises(InputError, match=re.escape(site.url)) as error:
        download(site.archive(f"md5:{wanted}"), tmp_path)
    for token in ("md5", hashlib.md5(BODY).hexdigest(), wanted):
        assert token in str(error.value)
    assert names(tmp_path) == []


def test_a_server_that_keeps_hanging_up_is_given_up_and_the_part_kept(site: Site, tmp_path: Path) -> None:
    site.drop_after = [300_000] + [0] * 10
    with pytest.raises(InputError, match=re.escape(site.url)) as error:
        download(site.archive(), tmp_path)
    for token in ("300000", "768000", str(tmp_path / "Task99_Test.tar")):  # fetched, wanted, where to save it
        assert token in str(error.value)
    assert len(site.asked) == 1 + 4  # the first brought something: failure 1 of 5
    assert (tmp_path / "Task99_Test.tar.part").read_bytes() == BODY[:300_000]


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, 5)])
def test_only_passing_refusals_are_tried_again(
    site: Site, tmp_path: Path, status: int, requests: int
) -> None:
    site.status = status
    with pytest.raises(InputError, match=re.escape(site.url)) as error:
        download(site.archive(), tmp_path)
    for token in (str(status), str(tmp_path / "Task99_Test.tar")):  # the answer, where to save it by hand
        assert token in str(error.value).replace(site.url, "")
    assert len(site.asked) == requests
    assert names(tmp_path) == []


def test_offline_names_the_file_to_fetch_by_hand(site: Site, tmp_path: Path) -> None:
    nowhere = Archive("http://127.0.0.1:9/Task99_Test.tar", MD5)
    with pytest.raises(InputError, match=re.escape(nowhere.url)) as error:
        download(nowhere, tmp_path)
    assert str(tmp_path / "Task99_Test.tar") in str(error.value)


@pytest.mark.parametrize("tells_length", [True, False])
def test_more_bytes_than_announced_are_refused(site: Site, tmp_path: Path, tells_length: bool) -> None:
    """A server that tells the length is refused by it, another one by the bytes that come."""
    site.tells_length = tells_length
    with pytest.raises(InputError, match=re.escape(site.url)) as error:
        download(site.archive(size_bytes=1000), tmp_path)
    assert "1000" in str(error.value).replace(site.url, "")
    assert ("768000" in str(error.value)) == tells_length
    assert names(tmp_path) in ([], ["Task99_Test.tar.part.etag"])


def test_a_size_nobody_tells_is_refused_and_one_in_the_settings_suffices(site: Site, tmp_path: Path) -> None:
    site.tells_length = False
    with pytest.raises(InputError, match=r"task\.archive\.size_bytes"):
        download(site.archive(), tmp_path)
    assert download(site.archive(size_bytes=len(BODY)), tmp_path).read_bytes() == BODY


def test_a_full_disk_is_told_before_anything_is_written(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(extract_module.shutil, "disk_usage", lambda _: full)
    with pytest.raises(InputError, match=re.escape(str(tmp_path))) as error:
        download(site.archive(), tmp_path)
    for size in ("1 MB", "0 MB"):  # needed, free
        assert re.search(rf"\b{size}", str(error.value))
    assert not (tmp_path / "Task99_Test.tar.part").exists()


def test_a_redirect_may_not_leave_http(site: Site, tmp_path: Path) -> None:
    for address in ("ftp://127.0.0.1/Task99_Test.tar", "file:///etc/hostname"):
        site.redirect = address
        with pytest.raises(InputError, match=re.escape(address)):
            download(site.archive(), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "url", ["ftp://a.org/x.tar", "file:///x.tar", "http://a.org/", "http://a.org/%2e%2e"]
)
def test_an_address_is_http_and_ends_in_a_name(url: str) -> None:
    with pytest.raises(InputError, match=re.escape(repr(url))) as error:
        Archive(url, MD5)
    assert MD5 not in str(error.value)  # as the message about a wrong checksum would have


@pytest.mark.parametrize("checksum", ["", MD5.upper(), MD5[4:], "md5:123", "sha1:" + "0" * 40])
def test_a_checksum_is_md5_or_sha256(checksum: str) -> None:
    with pytest.raises(InputError, match=re.escape("http://a.org/x.tar")) as error:
        Archive("http://a.org/x.tar", checksum)
    for token in (repr(checksum), "md5:", "sha256:"):
        assert token in str(error.value)


# --- unpacking ------------------------------------------------------------------------------------------

Member = tuple[str, bytes] | tarfile.TarInfo


def member(name: str, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


def folder_member(name: str) -> tarfile.TarInfo:
    return member(name, type=tarfile.DIRTYPE, mode=0o755)


def tar_bytes(*members: Member) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for item in members:
            if isinstance(item, tarfile.TarInfo):
                tar.addfile(item, io.BytesIO(b"x" * item.size))
            else:
                tar.addfile(member(item[0], size=len(item[1])), io.BytesIO(item[1]))
    return buffer.getvalue()


GOOD: tuple[Member, ...] = (
    ("./._Task", b"AppleDouble"),
    folder_member("./Task"),
    ("./Task/dataset.json", b"{}"),
    ("./Task/._dataset.json", b"AppleDouble"),
    folder_member("./Task/.hidden"),
    ("./Task/.hidden/file", b"hidden"),
    ("./Task/imagesTr/a.nii.gz", b"a" * 1000),
)


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


# --- both -----------------------------------------------------------------------------------------------


def serve(site: Site, body: bytes) -> Archive:
    site.body = body
    return site.archive(f"md5:{hashlib.md5(body).hexdigest()}")


def test_a_task_is_fetched_once_and_its_tar_removed(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_bytes(*GOOD))
    for _ in range(2):
        assert fetch_task(archive, tmp_path / "data", "Task") == tmp_path / "data" / "Task"
    assert len(site.asked) == 1
    assert names(tmp_path / "data") == [
        "Task",
        "Task/dataset.json",
        "Task/imagesTr",
        "Task/imagesTr/a.nii.gz",
    ]


@pytest.mark.parametrize(
    ("members", "tokens"),
    [
        ((("Other/dataset.json", b"{}"),), ("'Other'", "'Task'")),
        ((("Task/a", b""),), ("dataset.json",)),
        ((("Task/dataset.json", b""), ("../x", b"")), ("'../x'",)),
    ],
)
def test_an_archive_of_something_else_is_kept_but_not_unpacked(
    site: Site, tmp_path: Path, members: tuple[Member, ...], tokens: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "data" / "Task99_Test.tar"))) as error:
        fetch_task(serve(site, tar_bytes(*members)), tmp_path / "data", "Task")
    for token in tokens:
        assert token in str(error.value)
    assert names(tmp_path) == ["data", "data/Task99_Test.tar"]


def test_a_task_folder_without_dataset_json_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "Task").mkdir()
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "Task"))) as error:
        fetch_task(site.archive(), tmp_path, "Task")
    assert "dataset.json" in str(error.value)
    assert site.asked == []
