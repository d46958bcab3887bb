"""A connection to an origin, and the pool of those kept open.

Law: a kept connection owes nobody anything. Bytes that arrive on it while no exchange holds it are
no response (RFC 9112 §9.2): it is closed.
"""

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Protocol, cast

from .config import Origin
from .errors import UpstreamError
from .sockets import unread

# Node, uvicorn and others close after 5 s of silence; to be gone first leaves no stale connection.
IDLE_SECONDS = 4.0
# A request that must not be repeated gets a connection whose server cannot have tired of it yet:
# gunicorn's 2 s is the shortest default in use.
FRESH_SECONDS = 1.0
# Names are asked for again after this long; an answer that fails leaves the last one in force.
RESOLVE_SECONDS = 5.0


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


class Upstream(asyncio.Protocol):
    """One connection to an origin. `reused`: an exchange ended on it before."""

    __slots__ = ("_pool", "idle_since", "receiver", "reused", "transport")

    transport: asyncio.Transport

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self.receiver: Receiver | None = None
        self.reused = False
        self.idle_since = 0.0

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.receiver is None:
            self.close()
        else:
            self.receiver.upstream_received(data)

    def eof_received(self) -> bool:
        return self.receiver is not None and self.receiver.upstream_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
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


class Pool:
    """All connections of one worker to one origin.

    `leased` counts those that an exchange or tunnel holds or is opening; `turn` grows with each
    choice, so that the smallest is the longest unused.
    """

    def __init__(self, origin: Origin, connect_timeout: float | None) -> None:
        self.origin = origin
        self.leased = 0
        self.turn = 0
        self._idle: dict[Upstream, None] = {}
        self._open: set[Upstream] = set()
        self._connect_timeout = connect_timeout
        self._addresses: Sequence[str] = ()
        self._resolve_again = 0.0
        self._tls = _client_tls(origin) if origin.scheme == "https" else None

    def lease(self, *, repeatable: bool) -> Upstream | None:
        """The connection kept most recently, or None: then `connect`.

        `repeatable`: the request may be sent a second time should the connection prove stale.
        """
        patience = IDLE_SECONDS if repeatable else FRESH_SECONDS
        now = asyncio.get_running_loop().time()
        while self._idle:
            upstream, _ = self._idle.popitem()
            if not upstream.transport.is_closing() and now - upstream.idle_since < patience:
                self.leased += 1
                self._open.add(upstream)
                return upstream
            upstream.close()
        return None

    async def connect(self) -> Upstream:
        """Open a new connection. Raises UpstreamError: 504 when it takes too long, else 502."""
        self.leased += 1
        try:
            async with asyncio.timeout(self._connect_timeout):
                upstream = await self._connect()
        except TimeoutError:
            self.leased -= 1
            raise UpstreamError(504, "connect_timeout") from None
        except BaseException:
            self.leased -= 1
            raise
        self._open.add(upstream)
        return upstream

    def keep(self, upstream: Upstream) -> None:
        """Take a connection back whose exchange has ended well."""
        self.forget(upstream)
        upstream.idle_since = asyncio.get_running_loop().time()
        self._idle[upstream] = None

    def forget(self, upstream: Upstream) -> None:
        """Count a connection no longer, leased or kept."""
        self._idle.pop(upstream, None)
        if upstream in self._open:
            self._open.remove(upstream)
            self.leased -= 1

    def expire(self, now: float) -> None:
        """Close the connections that nobody has used for IDLE_SECONDS."""
        for upstream in [up for up in self._idle if now - up.idle_since >= IDLE_SECONDS]:
            upstream.close()

    def close(self) -> None:
        """Close every kept connection."""
        for upstream in list(self._idle):
            upstream.close()

    async def _connect(self) -> Upstream:
        loop = asyncio.get_running_loop()
        origin = self.origin
        try:
            if origin.unix is not None:
                made = await loop.create_unix_connection(lambda: Upstream(self), str(origin.unix))
                return made[1]
            return await self._connect_to_any(loop, await self._resolve(loop))
        except ssl.SSLError as error:
            raise UpstreamError(502, "tls") from error
        except OSError as error:
            raise UpstreamError(502, "refused") from error

    async def _connect_to_any(
        self, loop: asyncio.AbstractEventLoop, addresses: Sequence[str]
    ) -> Upstream:
        last: OSError = OSError("no address")
        for address in addresses:
            try:
                _, upstream = await loop.create_connection(
                    lambda: Upstream(self),
                    address,
                    self.origin.port,
                    ssl=self._tls,
                    server_hostname=self.origin.host if self._tls else None,
                )
            except ssl.SSLError:
                raise
            except OSError as error:
                last = error
            else:
                return upstream
        # Whoever stood behind the name may have moved.
        self._resolve_again = 0.0
        raise last

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> Sequence[str]:
        if _is_address(self.origin.host):
            return (self.origin.host,)
        if loop.time() >= self._resolve_again:
            try:
                found = await loop.getaddrinfo(self.origin.host, self.origin.port, type=1)
            except OSError as error:
                if not self._addresses:
                    raise UpstreamError(502, "unresolved") from error
            else:
                self._addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
            self._resolve_again = loop.time() + RESOLVE_SECONDS
        return self._addresses


class Pools:
    """The pools of one worker, by origin; made when first asked for."""

    def __init__(self, connect_timeout: float | None) -> None:
        self._connect_timeout = connect_timeout
        self._pools: dict[Origin, Pool] = {}
        self._turn = 0

    def choose(self, origins: Iterable[Origin]) -> Pool | None:
        """The pool of the origin with the fewest leases; among equals the longest unused."""
        pools = [self._pools.get(origin) or self._add(origin) for origin in origins]
        best = min(pools, key=lambda pool: (pool.leased, pool.turn), default=None)
        if best is not None:
            self._turn += 1
            best.turn = self._turn
        return best

    def _add(self, origin: Origin) -> Pool:
        pool = self._pools[origin] = Pool(origin, self._connect_timeout)
        return pool

    def expire(self, now: float) -> None:
        """Close what has been idle too long, in every pool."""
        for pool in self._pools.values():
            pool.expire(now)

    def close(self) -> None:
        """Close what is idle, in every pool."""
        for pool in self._pools.values():
            pool.close()


def _client_tls(origin: Origin) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(origin.ca) if origin.ca else None)
    if not origin.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
