"""Connections to origins that are kept open, and which origin a request goes to.

Law: every connection is counted from the moment somebody waits for it until it is given back or
gone, so that the fewest leases is a number and no guess.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import cast

from .config import Origin
from .dialer import Dialer
from .errors import NO_RESOURCES, UpstreamError
from .health import Standing
from .proxy_protocol import Endpoints
from .sockets import silent, unread_waits
from .upstream import Upstream

# Node, uvicorn and others close after 5 s of silence; to be gone first leaves no stale connection.
IDLE_SECONDS = 4.0
# A request that must not be repeated gets a connection whose server cannot have tired of it yet:
# gunicorn's 2 s is the shortest default in use, and 1 s the shortest that is configured in seconds.
FRESH_SECONDS = 0.5
# An origin that ends a connection sooner than that, and did not say so in its answer, is trusted
# with no such request on a kept connection for this long: it may end that at any moment.
HASTY_SECONDS = 60.0


class Pool:
    """All connections of one worker to one origin.

    `leased` counts those that an exchange or tunnel holds or is opening; `turn` grows with each
    choice, so that the smallest is the longest unused. `told` hears when the origin is marked and
    when its mark is lifted.
    """

    def __init__(
        self,
        origin: Origin,
        connect_timeout: float | None,
        told: "Callable[[Pool], None]" = lambda _pool: None,
    ) -> None:
        self.origin = origin
        self.standing = Standing()
        self.leased = 0
        self.turn = 0
        self._idle: dict[Upstream, None] = {}
        self._dialed = 0
        self._time = asyncio.get_running_loop().time
        self._dialer = Dialer(origin, connect_timeout)
        self._told = told
        self._trial: asyncio.Task[None] | None = None
        self._hasty_until = 0.0

    def lease(self, *, repeatable: bool) -> Upstream | None:
        """The connection kept most recently, or None: then `connect`.

        `repeatable`: the request may be sent a second time should the connection prove stale.
        """
        idle = self._idle
        now = self._time()
        if not repeatable and now < self._hasty_until:
            return None
        while idle:
            upstream = next(reversed(idle))
            silent_for = now - upstream.idle_since
            if not repeatable and silent_for >= FRESH_SECONDS:
                return None
            gone = silent_for >= IDLE_SECONDS or upstream.transport.is_closing()
            # A byte that waits would be read as the next client's answer. That the origin has ended
            # the connection matters only to a request that cannot be repeated.
            if gone or (
                unread_waits(upstream.descriptor) if repeatable else not silent(upstream.transport)
            ):
                self.lost(upstream)
                upstream.transport.abort()
            else:
                del idle[upstream]
                self.leased += 1
                upstream.leased = True
                return upstream
        return None

    async def connect(self, ends: Endpoints | None = None) -> Upstream:
        """Open a new connection. Raises UpstreamError: 504 when it takes too long, else 502.

        `ends`: those of the client's connection for which it is (`Dialer.dial`).
        """
        self.leased += 1
        self._dialed += 1
        try:
            upstream = await self._dialer.dial(lambda: Upstream(self), ends)
        except BaseException as error:
            self.leased -= 1
            if isinstance(error, UpstreamError):
                self.failed(error.reason, unreachable=True)
            raise
        finally:
            self._dialed -= 1
        upstream.leased = True
        self._connected()
        return upstream

    def answered(self) -> None:
        """The origin has answered a request."""
        if self.standing.failures and self.standing.answered(_now()):
            self._told(self)

    def failed(self, reason: str, *, unreachable: bool = False) -> None:
        """The origin could not be connected to, or did not answer a request as it should."""
        if reason == NO_RESOURCES:
            return
        if self.standing.failed(_now(), reason, unreachable=unreachable):
            self._told(self)

    def keep(self, upstream: Upstream) -> None:
        """Take a connection back whose exchange has ended well.

        One that has been announced as a certain client's can be nobody else's: it is closed.
        """
        if self.origin.proxy_protocol is not None:
            upstream.close()
            return
        if upstream.leased:
            upstream.leased = False
            self.leased -= 1
        upstream.idle_since = self._time()
        self._idle[upstream] = None

    def forget(self, upstream: Upstream) -> None:
        """Count a connection no longer, leased or kept."""
        self._idle.pop(upstream, None)
        if upstream.leased:
            upstream.leased = False
            self.leased -= 1

    def lost(self, upstream: Upstream) -> None:
        """A connection is gone; where it was kept, its origin has ended it."""
        if upstream in self._idle:
            now = _now()
            if now - upstream.idle_since < FRESH_SECONDS:
                self._hasty_until = now + HASTY_SECONDS
        self.forget(upstream)

    def ticked(self, now: float) -> None:
        """Close the connections that nobody has used for IDLE_SECONDS; try a marked origin."""
        for upstream in [up for up in self._idle if now - up.idle_since >= IDLE_SECONDS]:
            upstream.close()
        standing = self.standing
        if standing.marked and standing.unreachable and standing.due(now):
            standing.tried(now)
            self._trial = asyncio.get_running_loop().create_task(self._try())
        elif standing.marked and standing.forgotten(now):
            self._told(self)

    @property
    def connections(self) -> int:
        """How many are open: leased, kept, or about to be closed."""
        return self.leased - self._dialed + len(self._idle)

    def close(self) -> None:
        """Close every kept connection."""
        if self._trial is not None:
            self._trial.cancel()
        for upstream in list(self._idle):
            upstream.close()

    def _connected(self) -> None:
        if self.standing.marked and self.standing.connected(_now()):
            self._told(self)

    async def _try(self) -> None:
        """Whether an origin that could not be reached can be, so that no client has to find out."""
        try:
            trial = await self._dialer.dial(_Trial)
        except UpstreamError as error:
            self.failed(error.reason, unreachable=True)
        else:
            trial.transport.close()
            self._connected()


class Pools:
    """The pools of one worker, by origin; made when first asked for."""

    def __init__(self, connect_timeout: float | None) -> None:
        self.told: Callable[[Pool], None] = lambda _pool: None
        self._connect_timeout = connect_timeout
        self._pools: dict[Origin, Pool] = {}
        self._turn = 0
        self._marked = 0

    def choose(self, origins: Iterable[Origin]) -> Pool | None:
        """The pool of the origin with the fewest leases; among equals the longest unused.

        Those marked come last: where all are, all may be chosen.
        """
        pools = [self._pools.get(origin) or self._add(origin) for origin in origins]
        if self._marked:
            now = _now()
            pools = [pool for pool in pools if pool.standing.preferred(now)] or pools
        best = min(pools, key=lambda pool: (pool.leased, pool.turn), default=None)
        if best is not None:
            self._turn += 1
            best.turn = self._turn
            if self._marked and best.standing.marked and not best.standing.unreachable:
                best.standing.tried(_now())
        return best

    async def connect(
        self,
        pool: Pool,
        others: Callable[[], Iterable[Origin]],
        ends: Endpoints | None,
        turned_to: Callable[[Origin, str], None],
    ) -> Upstream:
        """Open a connection to the pool's origin, or else to the first of the others that answers.

        `turned_to` hears of each further origin, and why the one before was none. Raises the
        UpstreamError of the last.
        """
        tried = [pool.origin]
        while True:
            try:
                return await pool.connect(ends)
            except UpstreamError as error:
                following = self.choose(to for to in others() if to not in tried)
                if following is None:
                    raise
                turned_to(following.origin, error.reason)
                pool = following
                tried.append(pool.origin)

    def standing(self, origin: Origin) -> Standing | None:
        """How an origin stands; None when nobody has asked for it yet."""
        pool = self._pools.get(origin)
        return None if pool is None else pool.standing

    def _add(self, origin: Origin) -> Pool:
        pool = self._pools[origin] = Pool(origin, self._connect_timeout, self._changed)
        return pool

    def _changed(self, pool: Pool) -> None:
        self._marked += 1 if pool.standing.marked else -1
        self.told(pool)

    def ticked(self, now: float) -> None:
        """Close what has been idle too long and try what is marked, in every pool."""
        for pool in self._pools.values():
            pool.ticked(now)

    @property
    def connections(self) -> int:
        """How many connections are open to all origins."""
        return sum(pool.connections for pool in self._pools.values())

    def close(self) -> None:
        """Close what is idle, in every pool."""
        for pool in self._pools.values():
            pool.close()


class _Trial(asyncio.Protocol):
    """A connection that is only opened."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)


def _now() -> float:
    return asyncio.get_running_loop().time()
