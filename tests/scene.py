"""An exchange on stage: a request is begun, and the wires of its upstreams are at hand."""

from __future__ import annotations

from typing import Any

from proxy.config import Config
from proxy.doorkeeper import Question
from proxy.exchange import Exchange
from proxy.findings import Findings
from proxy.head import HeadBuffer, read_request
from proxy.hop import Sender
from proxy.listener import Listener
from proxy.routing import Route, Table
from proxy.tls import Base
from tests.playbook import ClientOnStage, Wire, settled, stage

ORIGIN = "http://127.0.0.1:1"


class Scene:
    """One site `a` before one or more origins, and its requests one after the other."""

    def __init__(
        self,
        *,
        to: object = ORIGIN,
        site: Any = None,
        findings: Findings | None = None,
        **config: object,
    ) -> None:
        written = Config.model_validate({"sites": {"a": {"to": to, **(site or {})}}, **config})
        self.config = written
        self.listener = Listener(
            written,
            Table(written.sites),
            Base(),
            workers=1,
            findings=findings,
        )
        self.client = ClientOnStage()
        self.rest = b""

    async def asks(self, octets: bytes, *, question: Question | None = None) -> Exchange:
        """The client sends a request's head and what follows it; a connection is opened for it."""
        heads = HeadBuffer(64 * 1024)
        head = heads.take(octets)
        assert head is not None, "a scene begins with a whole head"
        request = read_request(head)
        site = self.listener.table.site("a")
        route = site.route(request.target) if site else None
        assert route is not None
        self.client = ClientOnStage()
        sender = Sender("192.0.2.1", b"7f", trusted=False)
        exchange = Exchange(self.listener, self.client, request, route, sender)
        self.rest = exchange.begin(heads.data, question)
        await settled()
        return exchange

    @property
    def route(self) -> Route:
        """The default route of the site."""
        return self.listener.table.sites["a"].default

    @property
    def upstream(self) -> Wire:
        """The wire opened last."""
        return stage().opened[-1]

    @property
    def wires(self) -> list[Wire]:
        """All wires to origins, in the order in which they were opened."""
        return stage().opened

    async def warm(self) -> Wire:
        """A connection that has had an exchange already and waits in the pool."""
        await self.asks(GET)
        self.upstream.says(OK)
        self.upstream.take()
        return self.upstream


GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """The bytes of a POST."""
    return b"\r\n".join([b"POST /x HTTP/" + version, b"Host: a", *fields, b"", body])


def reply(*fields: bytes, body: bytes = b"", status: bytes = b"200 OK") -> bytes:
    """The bytes of a response that has its own Date."""
    return b"\r\n".join([b"HTTP/1.1 " + status, b"Date: d", *fields, b"", body])
