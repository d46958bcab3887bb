"""A tracker's REST API as a program of its own: the paths and answers of Torrust's.

Called with a port; the answers are JSON, in compact form, each with its Content-Length.
"""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "MyAccessToken"
STATS = {"torrents": 2, "seeders": 1, "completed": 0, "leechers": 1, "tcp4_connections_handled": 7}
INFO_HASH = "443c7602b4fde83d1154d6d9da48808418b181b6"


class TrackerAPI(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and content are two writes

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/api/health_check":
            self._answer(HTTPStatus.OK, {"status": "Ok"})
        elif path == "/target":
            self._answer(HTTPStatus.OK, {"bytes": self.path.encode("latin-1").hex()})
        elif path.startswith("/api/v1/"):
            self._guarded(path.removeprefix("/api/v1/"))
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"", "text/plain; charset=utf-8")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(HTTPStatus.OK, {"received": content.hex()})

    def do_DELETE(self) -> None:
        self._guarded("whitelist")

    def _guarded(self, resource: str) -> None:
        token = parse_qs(urlsplit(self.path).query).get("token")
        if token is None:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, *_reason("unauthorized"))
        elif token != [TOKEN]:
            self._answer(HTTPStatus.UNAUTHORIZED, *_reason("token not valid"))
        else:
            self._resource(resource)

    def _resource(self, resource: str) -> None:
        if resource == "stats":
            self._answer(HTTPStatus.OK, STATS)
        elif resource == "torrents":
            self._answer(HTTPStatus.OK, [{"info_hash": INFO_HASH, "seeders": 1}])
        elif resource == "whitelist":
            self._answer(HTTPStatus.OK, {"status": "ok"})
        elif resource == "metrics":
            self._answer(HTTPStatus.OK, b"torrents_total 2\n", "text/plain; version=0.0.4")
        else:
            self._answer(HTTPStatus.NOT_FOUND, *_reason("torrent not known"))

    def _answer(self, status: HTTPStatus, value: object, media: str = "application/json") -> None:
        content = value if isinstance(value, bytes) else _json(value)
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep no log."""


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _reason(why: str) -> tuple[bytes, str]:
    return f'Unhandled rejection: Err {{ reason: "{why}" }}'.encode(), "text/plain; charset=utf-8"


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), TrackerAPI).serve_forever()
