"""A proxy with an admin listener, the origin behind it, and what the listener tells."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.authority import Authority
from tests.http_client import exchange, get
from tests.origins import Listener
from tests.programs import Hopward, wait_for
from tests.tls_client import TLSClient

API, PAIR, SHUT = "api.example.com", "pair.example.com", "shut.example.com"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Told(NamedTuple):
    """An answer of the admin listener."""

    status: int
    fields: http.client.HTTPMessage
    text: str


def serve(connection: socket.socket) -> None:
    """Answer with the status that is asked for, or switch to a WebSocket and say no more."""
    with connection.makefile("rb") as stream:
        while line := stream.readline():
            while stream.readline().strip():
                pass
            if b" /socket" in line:
                connection.sendall(SWITCHED)
                stream.read()
                return
            asked = line.split()[1].removeprefix(b"/") or b"200"
            connection.sendall(b"HTTP/1.1 %b .\r\nContent-Length: 2\r\n\r\nok" % asked)


class Watched:
    """A running proxy of two workers, asked as clients ask and as its operator does."""

    def __init__(self, proxy: Hopward, authority: Authority) -> None:
        self.proxy, self._authority = proxy, authority
        self.admin = int(proxy.ready()["admin"][0].rpartition(":")[2])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.admin}"

    def ask(self, path: str, method: str = "GET", host: str = "localhost") -> Told:
        """What the admin listener says to one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=30)
        try:
            connection.request(method, path, headers={"Host": host})
            answer = connection.getresponse()
            return Told(answer.status, answer.headers, answer.read().decode())
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        """The document."""
        document: dict[str, Any] = json.loads(self.ask("/status.json").text)
        return document

    def site(self, name: str = API) -> dict[str, Any]:
        """What the document says of a site."""
        return the(self.status()["sites"], site=name)

    def counted(self, requests: int) -> dict[str, Any]:
        """What is said of API once so many are counted: an answer is sent before it is counted."""
        status = self.becomes(lambda status: the(status["sites"], site=API)["requests"] >= requests)
        return the(status["sites"], site=API)

    def certificate(self, host: str) -> dict[str, Any]:
        """What the document says of a certificate."""
        return the(self.status()["certificates"], host=host)

    def becomes(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until the document is as said; returns it."""

        def told() -> dict[str, Any] | None:
            document = self.status()
            return document if condition(document) else None

        return wait_for(told, what="the status") or {}

    def dial(self, host: str = API) -> TLSClient:
        return TLSClient(self.proxy.https, host, cafile=self._authority.pem)

    def asks(self, target: bytes, host: str = API) -> int:
        """The status of the answer that a client gets, on a connection of its own."""
        with self.dial(host) as client:
            return exchange(client, get(target, host)).status


def the(entries: list[dict[str, Any]], **key: str) -> dict[str, Any]:
    """The one entry with this key."""
    [found] = [entry for entry in entries if key.items() <= entry.items()]
    return found


@contextmanager
def watched(
    folder: Path, authority: Authority, sites: Mapping[str, object], **settings: object
) -> Iterator[Watched]:
    """A proxy of these sites, each with a certificate of the authority's, or as it says."""
    listen = {"https": "127.0.0.1:0", "http": False, "admin": "127.0.0.1:0"}
    own = {name: {"tls": authority.pair(name).tls()} for name in sites}
    config = {
        "listen": listen,
        "store": str(folder / "store"),
        "workers": 2,
        "access_log": "off",
        **settings,
        "sites": {
            name: {**own[name], **(site if isinstance(site, Mapping) else {"to": site})}
            for name, site in sites.items()
        },
    }
    with Hopward(folder, config) as proxy:
        yield Watched(proxy, authority)


@contextmanager
def origin() -> Iterator[str]:
    """The URL of an origin."""
    with Listener(serve) as listener:
        yield f"http://127.0.0.1:{listener.port}"
