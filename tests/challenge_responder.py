"""Answers a CA's challenges from a store, as the proxy's port 80 and port 443 do.

One law: it knows nothing of orders; all it answers with lies in the store's folder.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import ssl
import tempfile
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

PATIENCE = 60
WELL_KNOWN = "/.well-known/acme-challenge/"
ALPN = "acme-tls/1"  # RFC 8737 §6.2


class Challenges(Protocol):
    """What is asked of a store."""

    def http_token(self, token: str) -> bytes | None: ...
    def alpn_certificate(self, name: str) -> bytes | None: ...


class _Listening(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int, serve: Callable[[socket.socket], None]) -> None:
        super().__init__(("127.0.0.1", port), socketserver.BaseRequestHandler)
        self._serve = serve
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(PATIENCE)
        with contextlib.suppress(OSError):
            self._serve(request)

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class Responder:
    """Both ports open from `with` to its end; a test shuts them or makes them black holes."""

    def __init__(self, store: Challenges, http_port: int, tls_port: int) -> None:
        self.store = store
        self._ports = {"http": http_port, "tls": tls_port}
        self._listening: dict[str, _Listening] = {}
        self._ended = threading.Event()
        self.asked: list[str] = []  # "http-01 TOKEN" or "tls-alpn-01 NAME", in order

    def open(self, kind: str) -> None:
        """Answer challenges at port `kind`: `http` or `tls`."""
        self.shut(kind)
        serve = {"http": self._answer_http, "tls": self._answer_tls}[kind]
        self._listening[kind] = _Listening(self._ports[kind], serve)

    def shut(self, kind: str) -> None:
        """Refuse connections at port `kind`."""
        if kind in self._listening:
            self._listening.pop(kind).end()

    def swallow(self, kind: str) -> None:
        """Accept connections at port `kind` and never say a word."""
        self.shut(kind)
        self._listening[kind] = _Listening(self._ports[kind], self._say_nothing)

    def _say_nothing(self, _: socket.socket) -> None:
        self._ended.wait()

    def _answer_http(self, connection: socket.socket) -> None:
        asked, store = self.asked, self.store

        class Request(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """What was asked is recorded, not printed."""

            def do_GET(self) -> None:
                token = self.path.removeprefix(WELL_KNOWN)
                asked.append(f"http-01 {token}")
                found = store.http_token(token) if self.path.startswith(WELL_KNOWN) else None
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write(found or b"")

        Request(connection, ("127.0.0.1", 0), self._listening["http"])

    def _answer_tls(self, connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols([ALPN])
        context.sni_callback = self._choose
        with context.wrap_socket(connection, server_side=True) as spoken:
            spoken.recv(1)

    def _choose(
        self, spoken: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: Any
    ) -> int | None:
        self.asked.append(f"tls-alpn-01 {name}")
        found = self.store.alpn_certificate(name or "")
        if found is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols([ALPN])
        with tempfile.NamedTemporaryFile() as file:  # the standard library loads files alone
            file.write(found)
            file.flush()
            context.load_cert_chain(file.name)
        spoken.context = context
        return None

    def __enter__(self) -> Self:
        self.open("http")
        self.open("tls")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        for port in list(self._listening):
            self.shut(port)
