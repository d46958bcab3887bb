"""A connection to an origin.

Law: a connection that is kept owes nobody anything. Bytes that arrive on it while no exchange holds
it are no response (RFC 9112 §9.2): it is closed.
"""

import asyncio
from typing import Protocol, cast

from .engine import PIECE, Plain
from .sockets import descriptor_of, unread, write_now

# Twice what the loop reads by itself: 8 % of a stream of frames of 64 KiB, and 1 MiB saves no more.
_ROOM = memoryview(bytearray(512 * 1024))


class Receiver(Protocol):
    """Who holds an upstream connection: an exchange or a tunnel."""

    def upstream_received(self, data: bytes) -> None:
        """Bytes came."""

    def upstream_ended(self) -> bool:
        """The upstream says nothing more; whether the connection stays open for writing."""

    def upstream_lost(self) -> None:
        """The connection is gone."""

    def upstream_full(self) -> None:
        """What was written is not taken as fast: write no more for now."""

    def upstream_drained(self) -> None:
        """Writing may go on."""


class BulkReceiver(Protocol):
    """A receiver that reads memoryviews too."""

    def upstream_received(self, data: Plain) -> None:
        """Bytes came."""


class Keeper(Protocol):
    """Where an upstream connection comes from, and where it goes after an exchange."""

    def keep(self, upstream: "Upstream") -> None:
        """Take a connection back whose exchange has ended well."""

    def forget(self, upstream: "Upstream") -> None:
        """Count a connection no longer, leased or kept."""

    def lost(self, upstream: "Upstream") -> None:
        """The same, where it has ended by itself."""

    def answered(self) -> None:
        """The origin has answered a request."""

    def failed(self, reason: str) -> None:
        """The origin did not answer a request as it should."""


class Upstream(asyncio.Protocol):
    """One connection to an origin. `reused`: an exchange ended on it before.

    `leased` is its pool's note that somebody has it, `descriptor` its socket's.
    """

    __slots__ = (
        "_bulk",
        "_pool",
        "_raw",
        "descriptor",
        "idle_since",
        "leased",
        "receiver",
        "reused",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, pool: Keeper) -> None:
        self._pool = pool
        self.receiver: Receiver | None = None
        self.reused = self.leased = self._bulk = False
        self.idle_since = 0.0
        self.descriptor = self._raw = -1

    def give_back(self) -> None:
        """End the lease and keep the connection for another exchange."""
        self.receiver = None
        self.reused = True
        self._pool.keep(self)

    def close(self) -> None:
        """End the lease and the connection; what was written may be lost."""
        self.receiver = None
        self._pool.forget(self)
        self.transport.abort()

    def write(self, data: bytes | memoryview) -> None:
        """Write to the origin; nothing of a memoryview is needed afterwards."""
        write_now(self.transport, self._raw, data)

    def read_in_bulk(self, receiver: BulkReceiver) -> None:
        """Give the receiver, who never gives this back, the next large reads as memoryviews.

        Nothing of one is there after the call. A copy less: 6 % of a stream of frames of 64 KiB.
        """
        if not self._bulk:
            self._bulk = True
            self.transport.set_protocol(_Bulk(self, receiver))

    def answered(self) -> None:
        """Tell that the origin has answered a request."""
        self._pool.answered()

    def failed(self, reason: str) -> None:
        """Tell that the origin did not answer a request; no kept connection may have caused it."""
        self._pool.failed(reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.descriptor = descriptor_of(transport)
        if transport.get_extra_info("ssl_object") is None:
            self._raw = self.descriptor

    def data_received(self, data: bytes) -> None:
        if self.receiver is None:
            self.close()
        else:
            self.receiver.upstream_received(data)

    def eof_received(self) -> bool:
        return self.receiver is not None and self.receiver.upstream_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)
        if exc is not None and self.receiver is not None:
            self._hear_out()
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.upstream_lost()

    def _hear_out(self) -> None:
        """Pass on what came before a write failed.

        An origin that answers early and closes with unread bytes sends its answer, then a reset
        (RFC 9112 §9.6). uvloop gives the connection up at the failed write and leaves the answer
        in the kernel; until this callback returns it has not closed the socket.
        """
        while self.receiver is not None and (data := unread(self.transport)):
            self.receiver.upstream_received(data)

    def pause_writing(self) -> None:
        if self.receiver is not None:
            self.receiver.upstream_full()

    def resume_writing(self) -> None:
        if self.receiver is not None:
            self.receiver.upstream_drained()


class _Bulk(asyncio.BufferedProtocol):
    """An upstream that is read into the room which all upstreams of the process share."""

    def __init__(self, upstream: Upstream, receiver: BulkReceiver) -> None:
        self._upstream = upstream
        self._receiver = receiver

    def get_buffer(self, sizehint: int) -> memoryview:
        return _ROOM

    def buffer_updated(self, nbytes: int) -> None:
        data = _ROOM[:nbytes]
        if self._upstream.receiver is None:
            self._upstream.close()
        else:
            self._receiver.upstream_received(data if nbytes > PIECE else bytes(data))

    def eof_received(self) -> bool:
        return self._upstream.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.connection_lost(exc)

    def pause_writing(self) -> None:
        self._upstream.pause_writing()

    def resume_writing(self) -> None:
        self._upstream.resume_writing()
