"""Only this machine, only with the token, only what is in memory."""

import http.client
import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from app.view.server import LOOPBACK, Content, ViewServer

PAGE = {"": Content(b"page", "text/html"), "scan-0.nii": Content(bytes(range(256)) * 5000)}


@pytest.fixture
def server() -> Iterator[ViewServer]:
    with ViewServer(PAGE) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def get(
    server: ViewServer, path: str, host: str | None = None, method: str = "GET"
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(LOOPBACK, server.server_port, timeout=10)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_contents_with_the_token_and_headers_that_keep_them_in(server: ViewServer) -> None:
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/" and len(server.token) >= 32
    assert get(server, f"/{server.token}/")[:2] == (HTTPStatus.OK, b"page")
    status, data, headers = get(server, f"/{server.token}/scan-0.nii", f"localhost:{server.server_port}")
    assert (status, data) == (HTTPStatus.OK, PAGE["scan-0.nii"].data)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")


@pytest.mark.parametrize("path", ["/", "/scan-0.nii", "/wrong/scan-0.nii", "/favicon.ico", "//", "/%00/"])
def test_without_the_token_all_is_forbidden(server: ViewServer, path: str) -> None:
    assert get(server, path)[:2] == (HTTPStatus.FORBIDDEN, b"")


def test_another_host_is_forbidden_and_other_methods_are_not_known(server: ViewServer) -> None:
    right = f"/{server.token}/"
    for host in ("evil.example", f"evil.example:{server.server_port}", "127.0.0.1", "localhost:1"):
        assert get(server, right, host)[:2] == (HTTPStatus.FORBIDDEN, b"")
    assert get(server, right, method="POST")[0] == HTTPStatus.NOT_IMPLEMENTED


@pytest.mark.parametrize(
    "name", ["../server.py", "..%2fserver.py", "/etc/passwd", "server.py", "view.html?a"]
)
def test_paths_reach_no_file(server: ViewServer, name: str) -> None:
    assert get(server, f"/{server.token}/{name}")[:2] == (HTTPStatus.NOT_FOUND, b"")


def test_each_server_listens_on_loopback_with_a_token_of_its_own(server: ViewServer) -> None:
    with ViewServer(PAGE) as other:
        assert {server.server_address[0], other.server_address[0]} == {"127.0.0.1"}
        assert other.token != server.token
        assert get(server, f"/{other.token}/")[0] == HTTPStatus.FORBIDDEN
        with pytest.raises(OSError):
            ViewServer(PAGE, other.server_port)
