"""A proxy that is told to stop while exchanges and tunnels are under way."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import Protocol

from tests.authority import Authority
from tests.e2e.wire.client import HOST, Client
from tests.http_client import get
from tests.programs import Hopward, accepts, wait_for
from tests.scripted_origin import Call, ScriptedOrigin
from tests.tls_client import TLSClient

# No end of a process that takes this long has to do with what it waited for.
SOON = 10.0
LONG, SHORT = "60s", "1s"


class Draining:
    """A proxy that has been, or will be, asked to stop, and a client's way to it."""

    def __init__(self, proxy: Hopward, authority: Authority, connections: ExitStack) -> None:
        self.proxy, self._authority, self._connections = proxy, authority, connections
        self._port = proxy.https

    def dial(self) -> Client:
        wire = TLSClient(self._port, HOST, cafile=self._authority.pem)
        return Client(self._connections.enter_context(wire))

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to stop, and wait until no listener is left: then it drains."""
        self.proxy.process.send_signal(by)
        wait_for(lambda: not accepts(self._port), SOON, "the end of the listeners")

    def ended(self) -> int:
        """The exit code, soon."""
        return self.proxy.process.wait(SOON)

    @property
    def running(self) -> bool:
        return self.proxy.process.poll() is None


class Start(Protocol):
    """Starts a proxy with a patience of `drain`."""

    def __call__(self, drain: str = LONG, **settings: object) -> Draining: ...


def asked(drain: Draining, origin: ScriptedOrigin, request: bytes) -> tuple[Client, Call]:
    """A client whose request's head has reached the origin."""
    client = drain.dial()
    client.send(request)
    call = origin.accept()
    call.head()
    return client, call


def tunnel(drain: Draining, origin: ScriptedOrigin, protocol: bytes) -> tuple[Client, Call]:
    """Both ends of a tunnel."""
    request = get(b"/live", HOST, b"Connection: Upgrade", b"Upgrade: " + protocol)
    client, call = asked(drain, origin, request)
    call.send(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
    assert client.head().status == 101
    return client, call
