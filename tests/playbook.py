"""A stage for the rooms that speak through transports: a loop whose time stands still, wires that
remember what was written to them, and a client that writes down what it is told.

Nothing here touches a socket, so a test reads as a dialogue and ends in milliseconds.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec

from proxy.engine import Plain
from proxy.errors import ClientError, UpstreamError
from proxy.proxy_protocol import Endpoints
from proxy.upstream import Upstream

P = ParamSpec("P")


class Wire(asyncio.Transport):
    """One end of a connection: `written` is what was said, and how it ended is written down."""

    def __init__(self, protocol: asyncio.BaseProtocol | None = None, peer: str = "") -> None:
        super().__init__()
        self.protocol, self.peer = protocol, peer
        self.options: dict[str, object] = {}
        self.written = bytearray()
        self.waiting = 0
        self.reading = True
        self.half_closed = self.closed = self.aborted = False
        self.socket: socket.socket | None = None

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.socket if name == "socket" else default

    def take(self) -> bytes:
        """What was written since this was last asked."""
        said, self.written = bytes(self.written), bytearray()
        return said

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.half_closed, "nothing is written after the end was written"
        assert not self.closed, "nothing is written to a connection that is closed"
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self.protocol is not None
        return self.protocol

    # What the other end of the wire does.

    def says(self, octets: bytes) -> None:
        """The peer's bytes arrive."""
        if isinstance(self.protocol, asyncio.Protocol):
            self.protocol.data_received(octets)
            return
        assert isinstance(self.protocol, asyncio.BufferedProtocol)
        memoryview(self.protocol.get_buffer(-1))[: len(octets)] = octets
        self.protocol.buffer_updated(len(octets))

    def ends(self) -> None:
        """The peer says nothing more; the connection goes as the protocol answers."""
        assert isinstance(self.protocol, asyncio.Protocol | asyncio.BufferedProtocol)
        if not self.protocol.eof_received():
            self.lost()

    def lost(self) -> None:
        """The connection is gone."""
        assert self.protocol is not None
        self.closed = True
        self.protocol.connection_lost(None)


class StillLoop(asyncio.SelectorEventLoop):
    """A loop whose time moves only when a test says so, and whose network is a list of wires.

    `unreachable` names the hosts that refuse, `untrusted` those with a bad certificate, `silent`
    those that do not answer until they are `heard`, and `names` what the resolver knows, which
    does not answer for a silent one either.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()
        self.opened: list[Wire] = []
        self.unreachable: set[str] = set()
        self.untrusted: set[str] = set()
        self.silent: set[str] = set()
        self.names: dict[str, list[str]] = {}
        self.questions = 0
        self._heard = asyncio.Event()

    def time(self) -> float:
        return self.now

    async def heard(self) -> None:
        """The silent hosts answer at last."""
        self._heard.set()
        await settled()

    async def create_connection(  # type: ignore[override]
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int, **options: object
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        await asyncio.sleep(0)
        if host in self.silent:
            await self._heard.wait()
        if host in self.unreachable:
            raise ConnectionRefusedError(host)
        if host in self.untrusted:
            raise ssl.SSLCertVerificationError(host)
        return self._open(factory(), f"{host}:{port}", options)

    async def create_unix_connection(  # type: ignore[override]
        self, factory: Callable[[], asyncio.Protocol], path: str, **options: object
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        await asyncio.sleep(0)
        return self._open(factory(), f"unix:{path}", options)

    async def getaddrinfo(self, host: object, port: object, **options: object) -> Any:
        self.questions += 1
        if host in self.silent:
            await self._heard.wait()
        if host not in self.names:
            raise OSError("no such name")
        return [(2, 1, 6, "", (address, port)) for address in self.names[str(host)]]

    def _open(
        self, protocol: asyncio.Protocol, peer: str, options: dict[str, object]
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        wire = Wire(protocol, peer)
        wire.options = options
        self.opened.append(wire)
        protocol.connection_made(wire)
        return wire, protocol


def on_stage(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in a loop of its own whose time stands still."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=StillLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def stage() -> StillLoop:
    """The loop that the test runs in."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    return loop


async def settled() -> None:
    """Return when everything that could happen without time passing has happened."""
    for _ in range(20):
        await asyncio.sleep(0)


class ClientOnStage:
    """A client's connection as an exchange and a tunnel see it; it writes down what it is told."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.ends: list[str] = []
        self.error: ClientError | UpstreamError | None = None
        self.persist: bool | None = None
        self.switched: tuple[Upstream, bytes, Sequence[bytes]] | None = None
        self.held = False
        self.takes = True
        self.untaken = 0
        self.deadline: float | None = None

    def take(self) -> bytes:
        """What was sent to the client since this was last asked."""
        heard, self.heard = bytes(self.heard), bytearray()
        return heard

    def send(self, data: Plain) -> None:
        assert not self.ends, f"nothing is sent after the end ({self.ends})"
        self.heard += data

    def endpoints(self) -> Endpoints:
        return Endpoints("192.0.2.1", 40_000, "198.51.100.1", 443)

    def send_last(self, data: bytes) -> None:
        self.send(data)

    def writable(self) -> bool:
        return self.takes

    def unsent(self) -> int:
        return self.untaken

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    def wait_until(self, deadline: float | None) -> None:
        self.deadline = deadline

    def finish(self) -> None:
        self.ends.append("finished")

    def close(self) -> None:
        self.ends.append("closed")

    def break_off(self) -> None:
        self.ends.append("broken off")

    def exchange_ended(self, *, persist: bool) -> None:
        self.ends.append("complete")
        self.persist = persist

    def exchange_failed(self, error: ClientError | UpstreamError, *, persist: bool) -> None:
        self.ends.append("answered")
        self.error, self.persist = error, persist

    def exchange_aborted(self) -> None:
        self.ends.append("aborted")

    def exchange_switched(self, upstream: Upstream, early: bytes, protocols: list[bytes]) -> None:
        self.switched = upstream, early, protocols
