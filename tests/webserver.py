"""A web server on this computer that breaks off, lies and fails as a test tells it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BODY = bytes(range(256)) * 1000
RIGHT = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers as `server.behaviour` says; notes the `Range` and the `If-Range` of every request."""

    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        self.server.conditions.append(self.headers.get("If-Range"))
        self.server.behaviour(self, int(asked[6:-1]) if asked else 0)

    def give(
        self,
        start: int = 0,
        send: int | None = None,
        declare: int | None = None,
        body: bytes | None = None,
        ranged: bool | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Sends `body` from `start`, at most `send` bytes, under the length `declare`."""
        body = self.server.body if body is None else body
        rest = body[start:]
        ranged = start > 0 if ranged is None else ranged
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(rest) if declare is None else declare))
        self.end_headers()
        self.wfile.write(rest[:send])

    def fail(self, code: int, location: str | None = None) -> None:
        self.send_response(code)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Gives `body` from where it is asked to, unless `behaviour` does something else."""

    body = BODY
    url = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        self.conditions: list[str | None] = []
        self.behaviour: Callable[[Handler, int], Any] = Handler.give


@contextmanager
def serving(name: str) -> Iterator[Server]:
    """`with serving("a.zip") as server:` has an address that ends in that name."""
    server = Server()
    server.url = f"http://127.0.0.1:{server.server_port}/{name}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
