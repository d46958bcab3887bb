"""The beginning of a connection that a trusted proxy may have announced: the PROXY protocol.

Law: only a trusted peer is heard on whom it speaks for. Of anybody else not one byte is looked at
here, and a connection that need not be announced is handed on with its first byte.

The header names the connection's peer, so nobody further in needs to know of it: the protocol that
serves the connection is made when its ends are known, and gets the transport.
"""

import asyncio
import math
from collections.abc import Callable
from typing import cast

from .fields import in_networks, plain_address
from .listener import Connection, Listener
from .proxy_protocol import Endpoints, read_header

Serve = Callable[[Endpoints | None], asyncio.Protocol | asyncio.BufferedProtocol]
"""(the ends that were announced; None: those of the socket) -> who serves the connection"""


def announceable(listener: Listener, serve: Serve) -> Callable[[], asyncio.BaseProtocol]:
    """Makes the protocol of each new connection; where no proxy is trusted this costs nothing."""
    if not listener.trusted_proxies:
        return lambda: serve(None)
    return lambda: AnnouncedConnection(listener, serve)


class AnnouncedConnection(asyncio.Protocol):
    """Waits for a trusted peer's header, and hands the connection on."""

    kind = "announced"
    transport: asyncio.Transport
    _address: str

    def __init__(self, listener: Listener, serve: Serve) -> None:
        self._listener = listener
        self._serve = serve
        self._data = b""
        self.deadline = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        listener, peer = self._listener, transport.get_extra_info("peername")
        self._address = plain_address(peer[0]) if peer else ""
        if not peer or not in_networks(self._address, listener.trusted_proxies):
            self._hand_on(None)
            return
        listener.joined(self)
        seconds = listener.timeouts.handshake
        if seconds is not None:
            self.deadline = asyncio.get_running_loop().time() + seconds

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            header = read_header(self._data)
        except ValueError:
            self._refuse("malformed")
            return
        if header is not None:
            self._data = self._data[header.size :]
            self._listener.makes_way(self)
            self._hand_on(header.endpoints)

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.parted(self)

    def expired(self) -> None:
        """Nothing more has come in time."""
        if self._data:
            self._refuse("timeout")
            return
        self._listener.makes_way(self)
        silent = self._hand_on(None)
        if not self.transport.is_closing():
            cast(Connection, silent).expired()

    def drain(self) -> None:
        """Nothing has been asked yet."""
        self.transport.close()

    def retired(self) -> None:
        """What is on its way is still served."""

    def abort(self) -> None:
        """End at once."""
        self.transport.abort()

    def _refuse(self, reason: str) -> None:
        self.deadline = math.inf
        self._listener.refused_headers.met(self._address, reason)
        self.transport.abort()

    def _hand_on(self, ends: Endpoints | None) -> asyncio.BaseProtocol:
        protocol = self._serve(ends)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if self._data and not self.transport.is_closing():
            _hear(protocol, self._data)
        return protocol


def _hear(protocol: asyncio.Protocol | asyncio.BufferedProtocol, data: bytes) -> None:
    """Let it have what came with the header: less than one read, so that it has room for it."""
    if isinstance(protocol, asyncio.Protocol):
        protocol.data_received(data)
    else:
        memoryview(protocol.get_buffer(len(data)))[: len(data)] = data
        protocol.buffer_updated(len(data))
