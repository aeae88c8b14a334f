"""A web server for one page: on this machine only, with a secret in its address, from memory only."""

import secrets
import socketserver
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOOPBACK = "127.0.0.1"
_TOKEN_BYTES = 24
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",  # browsers write nothing to disk
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Content:
    """The bytes that one address returns, and their media type."""

    data: bytes
    kind: str = "application/octet-stream"


class ViewServer(ThreadingHTTPServer):
    """A server of named contents that listens on the loopback interface, on a free port unless one is given.

    An address is http://127.0.0.1:<port>/<token>/<name>; the name of the page itself is empty. Requests
    without the random token, or with the name of another host, get status 403. Names are looked up in
    `contents`, so no request reaches a file.
    """

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, contents: Mapping[str, Content], port: int = 0) -> None:
        """Listen at once.

        Raises:
            OSError: another program uses the port.
        """
        self.contents = contents
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    def server_bind(self) -> None:
        """Bind without the name look-up of HTTPServer, which can ask a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])

    def find(self, host: str | None, path: str) -> Content | HTTPStatus:
        """Return the content at a path, or the status of a refusal."""
        token, slash, name = path.removeprefix("/").partition("/")
        known = {f"{here}:{self.server_port}" for here in (LOOPBACK, "localhost")}
        if host not in known or not secrets.compare_digest(token.encode(), self.token.encode()):
            return HTTPStatus.FORBIDDEN
        return self.contents.get(name, HTTPStatus.NOT_FOUND) if slash else HTTPStatus.NOT_FOUND


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    server_version, sys_version = "view", ""

    def do_GET(self) -> None:
        """Send a content, or a status without text."""
        found = self.server.find(self.headers.get("Host"), self.path)
        content = found if isinstance(found, Content) else Content(b"", "text/plain")
        self.send_response(HTTPStatus.OK if isinstance(found, Content) else found)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", content.kind)
        self.send_header("Content-Length", str(len(content.data)))
        self.end_headers()
        try:
            self.wfile.write(content.data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the browser left before it had everything

    def log_message(self, *_: object) -> None:
        """Log nothing: addresses contain the token."""
