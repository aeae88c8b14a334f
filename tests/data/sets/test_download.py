"""Downloads from a real server on loopback that misbehaves."""

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.data.sets import download as download_module
from app.data.sets import extract as extract_module
from app.data.sets.download import Archive, download, fetch_task
from tests.support.archives import GOOD, Member, names, tar_bytes

BODY = bytes(range(256)) * 3000  # 768,000 bytes
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"


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
