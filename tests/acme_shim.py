"""A reverse proxy before a test CA that does what real ones do on bad days.

It keeps Host, and Pebble builds its URLs from the Host it sees: a client that begins at the
shim's directory stays with the shim, and the URLs inside its signed requests stay true.

One law: whatever no rule speaks of passes unchanged. A rule names a resource in the words of
RFC 8555 §7.1 (`newOrder`, `finalize`, `certificate`, …, and RFC 9773's `renewalInfo`) and
holds for as many calls as it says; the latest rule wins.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.authority import Authority
from tests.pebble import Pebble, ReservedPort

PATIENCE = 60
RENEWAL_INFO = "/renewal-info"
RESOURCES = {
    "/dir": "directory",
    "/nonce-plz": "newNonce",
    "/sign-me-up": "newAccount",
    "/my-account": "account",
    "/order-plz": "newOrder",
    "/my-order": "order",
    "/finalize-order": "finalize",
    "/authZ": "authorization",
    "/chalZ": "challenge",
    "/certZ": "certificate",
    "/revoke-cert": "revokeCert",
    "/rollover-account-key": "keyChange",
    RENEWAL_INFO: "renewalInfo",
    "/draft-ietf-acme-ari-03/renewalInfo": "renewalInfo",
}


class Answer(NamedTuple):
    """A status, fields by name, and content."""

    status: int
    fields: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Call:
    """One request as it came: when (`at`, by the shim's clock), for what, and what came back."""

    at: float
    method: str
    path: str
    resource: str
    content: bytes
    status: int | None = None  # None: no whole answer was given

    @property
    def payload(self) -> dict[str, Any]:
        """What the client signed (RFC 8555 §6.2); empty for POST-as-GET."""
        if not self.content:
            return {}
        octets = json.loads(self.content)["payload"]
        text = base64.urlsafe_b64decode(octets + "=" * (-len(octets) % 4))
        return dict(json.loads(text)) if text else {}


class Visit:
    """One call and the means to answer it; what a fault plays with."""

    def __init__(self, shim: AcmeShim, request: _Request, call: Call) -> None:
        self.shim, self.call, self._request = shim, call, request

    def forward(self) -> Answer:
        """What the CA itself answers."""
        return self.shim.forward(self.call, dict(self._request.headers.items()))

    def answer(self, answer: Answer) -> None:
        """Give `answer`; HEAD gets its head alone."""
        self.call.status = answer.status
        self._request.send_response(answer.status)
        for name, value in {**answer.fields, "Content-Length": str(len(answer.content))}.items():
            self._request.send_header(name, value)
        self._request.end_headers()
        if self.call.method != "HEAD":
            self._request.wfile.write(answer.content)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        connection = self._request.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._request.close_connection = True
        # closed here and now: the server's own end would shut it down politely first
        socket.socket(fileno=connection.detach()).close()

    def drip(self, octets: bytes, pause: float) -> None:
        """Send `octets` one by one, `pause` seconds apart, as long as the client stays."""
        self._request.close_connection = True
        for octet in octets:
            self._request.wfile.write(bytes([octet]))
            if self.shim.ended.wait(pause):
                return

    def hang(self) -> None:
        """Say nothing until the shim ends."""
        self._request.close_connection = True
        self.shim.ended.wait()


Fault = Callable[[Visit], None]


@dataclass
class _Rule:
    resource: str
    fault: Fault
    times: float

    def takes(self, resource: str) -> bool:
        if resource != self.resource or self.times <= 0:
            return False
        self.times -= 1
        return True


@dataclass
class RenewalInfo:
    """What RFC 9773 §4.2 has a CA say of each certificate: its window, or anything at all."""

    document: object = None
    retry_after: str = "21600"
    status: int = 200

    @staticmethod
    def window(start: str, end: str, **more: object) -> RenewalInfo:
        return RenewalInfo({"suggestedWindow": {"start": start, "end": end}, **more})

    def answer(self) -> Answer:
        raw = isinstance(self.document, bytes)
        content = self.document if raw else json.dumps(self.document).encode()
        assert isinstance(content, bytes)
        fields = {"Content-Type": "application/json", "Retry-After": self.retry_after}
        return Answer(self.status, fields, content)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    shim: AcmeShim

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.settimeout(PATIENCE)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.shim.converse(request, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are a test's business."""


class _Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Calls are recorded, not printed."""

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.shim.serve(self, content)

    do_GET = do_HEAD = do_POST = _serve  # noqa: N815 (the standard library's names)


@dataclass
class AcmeShim:
    """The reverse proxy, from `with` to its end; `clock` gives the times of the calls."""

    pebble: Pebble
    authority: Authority
    clock: Callable[[], float] = time.time
    renewal_info: RenewalInfo | None = None
    calls: list[Call] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        pair = self.authority.pair("localhost", "127.0.0.1")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(pair.cert, pair.key)
        self._onward = ssl.create_default_context(cafile=str(self.authority.pem))
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server: _Server | None = None
        self._port = ReservedPort()

    @property
    def directory(self) -> str:
        """The URL a client begins with."""
        return f"https://127.0.0.1:{self._port.number}/dir"

    def on(self, resource: str, fault: Fault, times: float = float("inf")) -> None:
        """From now on `resource` is answered by `fault`, `times` times."""
        with self._lock:
            self._rules.insert(0, _Rule(resource, fault, times))

    def heal(self) -> None:
        """Forget every rule."""
        with self._lock:
            self._rules.clear()

    def of(self, *resources: str) -> list[Call]:
        """The calls for any of `resources`, in order; for no argument: all of them."""
        with self._lock:
            return [call for call in self.calls if not resources or call.resource in resources]

    def count(self, *resources: str) -> int:
        """How many calls came for any of `resources`."""
        return len(self.of(*resources))

    def go_away(self) -> None:
        """Refuse connections, and break those there are: the CA is down."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        """Accept connections again, on the same port."""
        if self._server is not None:
            return
        self._server = _Server(("127.0.0.1", self._port.number), _Request)
        self._server.shim = self
        serve = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        serve.start()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """The CA is down in the `with` block."""
        self.go_away()
        yield
        self.come_back()

    def converse(self, connection: socket.socket, address: Any, server: _Server) -> None:
        """Serve one connection to its end."""
        with contextlib.suppress(OSError), self._tls.wrap_socket(connection, True) as spoken:
            with self._lock:
                self._open.add(spoken)
            try:
                _Request(spoken, address, server)
            finally:
                with self._lock:
                    self._open.discard(spoken)

    def serve(self, request: _Request, content: bytes) -> None:
        """Record one call and answer it by the latest rule that takes it, else truly."""
        call = Call(self.clock(), request.command, request.path, resource_of(request.path), content)
        with self._lock:
            self.calls.append(call)
            fault = next((rule.fault for rule in self._rules if rule.takes(call.resource)), None)
        (fault or self._truly)(Visit(self, request, call))

    def _truly(self, visit: Visit) -> None:
        info = self.renewal_info
        if info is None:
            visit.answer(visit.forward())
        elif visit.call.resource == "renewalInfo":
            visit.answer(info.answer())
        elif visit.call.resource == "directory":
            visit.answer(self._with_renewal_info(visit.forward()))
        else:
            visit.answer(visit.forward())

    def _with_renewal_info(self, answer: Answer) -> Answer:
        url = self.directory.removesuffix("/dir") + RENEWAL_INFO
        content = json.dumps({**answer.json(), "renewalInfo": url}).encode()
        return answer._replace(content=content)

    def forward(self, call: Call, fields: Mapping[str, str]) -> Answer:
        """The CA's own answer; 502 with HTML, as from any reverse proxy, where there is none."""
        onward = http.client.HTTPSConnection(
            "127.0.0.1", self.pebble.port, timeout=PATIENCE, context=self._onward
        )
        passed = {name: value for name, value in fields.items() if name.lower() not in _PER_HOP}
        with contextlib.closing(onward):
            try:
                onward.request(call.method, call.path, call.content or None, passed)
                answer = onward.getresponse()
                content = answer.read()
            except OSError:
                return html(502)
        kept = [
            (name, value) for name, value in answer.getheaders() if name.lower() not in _PER_HOP
        ]
        return Answer(answer.status, _joined(kept), content)

    def nonce(self) -> str:
        """A nonce of the CA's own, for answers that it did not give itself."""
        asked = Call(0, "HEAD", "/nonce-plz", "newNonce", b"")
        answer = self.forward(asked, {"User-Agent": "shim"})
        return answer.fields.get("Replay-Nonce", "")

    def __enter__(self) -> Self:
        self.come_back()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ended.set()
        self.go_away()
        self._port.close()


_PER_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


def _joined(fields: list[tuple[str, str]]) -> dict[str, str]:
    """Fields by name, several of one name as one list (RFC 9110 §5.3)."""
    joined: dict[str, str] = {}
    for name, value in fields:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def resource_of(path: str) -> str:
    """The resource at `path` in RFC 8555's words; the path itself where it has none."""
    for prefix, resource in RESOURCES.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return resource
    return path


def html(status: int, **fields: str) -> Answer:
    """What a load balancer says for a server that it cannot reach."""
    content = b"<html><head><title>Sorry</title></head><body><h1>We will be back</h1></body></html>"
    return Answer(status, {"Content-Type": "text/html", **fields}, content)
