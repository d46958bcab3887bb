"""Answers http-01 where no server does: for issuing by hand.

Law: it serves the store's tokens and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .answers import Answers

_WELL_KNOWN = "/.well-known/acme-challenge/"
_SILENCE = 10.0


@contextmanager
def answering(answers: Answers, address: str, port: int) -> Iterator[int]:
    """While this lasts, tokens are answered there; gives the port. Raises OSError."""

    class _Request(BaseHTTPRequestHandler):
        timeout = _SILENCE

        def do_GET(self) -> None:
            token = self.path.removeprefix(_WELL_KNOWN)
            found = answers.http_token(token) if token != self.path else None
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            """The authority tells what it saw."""

    server = ThreadingHTTPServer((address, port), _Request)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
