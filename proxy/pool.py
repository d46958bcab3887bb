"""Connections to origins that are kept open, and which origin a request goes to.

Law: every connection is counted from the moment somebody waits for it until it is given back or
gone, so that the fewest leases is a number and no guess.
"""

import asyncio
from collections.abc import Iterable

from .config import Origin
from .dialer import Dialer
from .upstream import Upstream

# Node, uvicorn and others close after 5 s of silence; to be gone first leaves no stale connection.
IDLE_SECONDS = 4.0
# A request that must not be repeated gets a connection whose server cannot have tired of it yet:
# gunicorn's 2 s is the shortest default in use.
FRESH_SECONDS = 1.0


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
        self._dialer = Dialer(origin, connect_timeout)

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
            upstream = await self._dialer.dial(lambda: Upstream(self))
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
