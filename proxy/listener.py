"""What all client connections of one worker share.

Law: nothing here belongs to one connection, and nothing that is shared stands anywhere else.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from .access_log import AccessLog
from .admission import Peer
from .clock import Clock
from .config import Config, Origin
from .counts import Counts
from .descriptors import Room
from .doorkeeper import Doorkeeper
from .fair_share import FairShare
from .findings import Findings
from .log import Log
from .memo import Memo, Memos
from .pool import Pool, Pools
from .refused_headers import RefusedHeaders
from .routing import Route, Table
from .shortage import MemoryShortage
from .tally import Tally
from .tls import Base, RecordLayer
from .turnstile import Turnstile

# How long an answered client may go on sending a request nobody reads: a reset would take the
# answer from it. nginx's lingering_timeout is 5 s; RFC 9112 §9.6.
LINGER_SECONDS = 5.0
# Whose connection was taken just before the process ends has most likely sent the first request, or
# is about to: closed unheard it would fail, though others wait at the same port for a successor.
_ARRIVAL_SECONDS = 1.0
# 25 µs each. Without this 3000 silent connections that came together made two turns of 33 ms.
_EXPIRED_AT_ONCE = 64
# How long the end of aborted connections may take to be told; it takes one turn of the loop.
_FAREWELL_SECONDS = 1.0


class Connection(Protocol):
    """A client's connection, as its worker sees it; `kind` is that of its listener."""

    kind: str
    deadline: float

    def expired(self) -> None:
        """The deadline has passed."""

    def drain(self) -> None:
        """Finish what is under way, begin nothing new."""

    def retired(self) -> None:
        """New rules hold, and this worker's successors take the new connections."""

    def abort(self) -> None:
        """End at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Road:
    """What the fast lane needs of a route: what is known of it, and the pool of its one origin."""

    memo: Memo
    pool: Pool


def _request_ids() -> Iterator[bytes]:
    """Ids that no other request has, in this worker or another; 0.2 µs less than a format each."""
    worker = secrets.token_hex(6).encode("ascii")
    last = [b"%02x" % octet for octet in range(256)]
    for block in itertools.count():
        front = b"%b%04x" % (worker, block)
        for digits in last:
            yield front + digits


class Listener:
    """Configuration, sites, pools and clock of one worker, and its open connections.

    `workers`: among how many the limit of connections is shared. `tally`: where this worker counts.
    `access_log`: None where none is wanted. `findings`: those of the checks. `fair_share`:
    what one client may take of all workers. `log`: hears of a lack of descriptors or memory.
    `newcomers`: whose handshakes pass in a turn; `ahead`: whose requests, of those sent ahead.
    `draining`: each answer is the last of its connection; `ending`: connections without a request
    are closed too.
    """

    def __init__(
        self,
        config: Config,
        table: Table,
        base: Base,
        *,
        workers: int,
        tally: Tally | None = None,
        access_log: AccessLog | None = None,
        findings: Findings | None = None,
        fair_share: FairShare | None = None,
        log: Log | None = None,
    ) -> None:
        self.access_log = access_log
        self._lost_lines = 0
        self.adopt(config, table)
        self.pools = Pools(config.timeouts.connect)
        self.counts = Counts(tally or Tally.alone())
        self.memory = MemoryShortage(log)
        self.refused_headers = RefusedHeaders(self.counts, log)
        self.fair_share = fair_share or FairShare()
        self.doorkeeper = Doorkeeper()
        self.memos = Memos()
        self.draining = False
        self.ending = False
        self._roads: dict[Route, Road | None] = {}
        self._findings = findings
        self._base = base
        self._connections: set[Connection] = set()
        limit = config.limits.connections
        self._room = Room(None if limit is None else -(-limit // workers), log)
        self.request_ids = _request_ids()
        self._empty = asyncio.Event()
        self._empty.set()
        loop = asyncio.get_running_loop()
        self.newcomers = Turnstile(loop)
        self.ahead = Turnstile(loop)
        self.clock = Clock(loop, self._ticked)

    def adopt(self, config: Config, table: Table) -> None:
        """Judge by these rules from the next request on."""
        self.timeouts = config.timeouts
        self.limits = config.limits
        self.trusted_proxies = config.trusted_proxies
        self.table = table

    @property
    def full(self) -> bool:
        """Whether the limit of connections is reached, or that of descriptors."""
        return len(self._connections) >= self._room.most

    @property
    def overfull(self) -> bool:
        """Whether there is no descriptor left to tell a client so."""
        return len(self._connections) >= self._room.bound

    def road(self, route: Route) -> Road | None:
        """The fast lane of a route; None where it has none. Found anew it took 5 µs."""
        try:
            return self._roads[route]
        except KeyError:
            memo = self.memos.of(route)
            pool = self.pools.choose(route.config.to) if memo else None
            road = self._roads[route] = Road(memo, pool) if memo and pool else None
            return road

    def healthy(self, route: Route) -> Sequence[Origin]:
        """The origins of a route that no check speaks against, in their order."""
        findings = self._findings
        if not route.checks or findings is None:
            return route.config.to
        now = time.monotonic()
        return [check.origin for check in route.checks if findings.healthy(check, now)]

    def meet(self, address: str) -> Peer:
        """Whom a new connection is from; to be told of its end by `take_leave`.

        Trusted proxies come on behalf of many and are not counted by address.
        """
        peer = Peer.of(address, self.trusted_proxies)
        refused, most = self.full, self.limits.connections_per_ip
        if most is None or peer.trusted:
            return peer._replace(refused=True) if refused else peer
        crowded = self.fair_share.headcount.arrive(peer.address) > most
        return peer._replace(refused=refused or crowded, counted=True)

    def take_leave(self, peer: Peer) -> None:
        """The peer's connection is gone."""
        if peer.counted:
            self.fair_share.headcount.leave(peer.address)

    def record_layer(self, transport: asyncio.Transport) -> RecordLayer:
        """TLS for a new connection, which is full as soon as its kernel does not take all.

        Where less counted as nothing, a second read of the origin would begin to wait behind the
        first: 500 KiB for a client that reads nothing, not 150.
        """
        transport.set_write_buffer_limits(0)
        return RecordLayer(self._base, transport)

    def joined(self, connection: Connection) -> None:
        """A connection has begun."""
        self._connections.add(connection)
        self.counts.connected(connection.kind)
        self._empty.clear()

    def parted(self, connection: Connection) -> None:
        """A connection is gone."""
        self.makes_way(connection)
        if not self._connections:
            self._empty.set()

    def makes_way(self, connection: Connection) -> None:
        """A connection is another from now on, which joins before anybody else is heard."""
        if connection in self._connections:
            self._connections.remove(connection)
            self.counts.parted(connection.kind)

    def retire(self, then: Callable[[], None]) -> None:
        """Let each connection end with its next answer; call `then` after the last has ended.

        An idle one is not closed: its client may have sent a request at this very moment.
        """
        self.draining = True
        self.counts.retired()
        self._tell([connection.retired for connection in self._connections])
        self._emptied = asyncio.ensure_future(self._empty.wait())
        self._emptied.add_done_callback(lambda _: then())

    @property
    def first_request_within(self) -> float | None:
        """The seconds that a connection which asked nothing yet is waited for."""
        return _ARRIVAL_SECONDS if self.ending else self.timeouts.request_head

    async def drain(self) -> None:
        """Return when the last exchange and tunnel has ended, at the latest after `drain`."""
        self.draining = self.ending = True
        self._tell([connection.drain for connection in self._connections])
        try:
            async with asyncio.timeout(self.timeouts.drain):
                await self._empty.wait()
        except TimeoutError:
            self.abort()
            # The loop tells each connection of its end, which then writes its account.
            with suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_SECONDS):
                    await self._empty.wait()
        self.pools.close()
        self.doorkeeper.close()
        self.clock.stop()

    def abort(self) -> None:
        """End every connection at once."""
        self._tell([connection.abort for connection in self._connections])

    def _tell(self, connections: list[Callable[[], None]]) -> None:
        """Let each hear it: one's fault keeps no other from ending well."""
        for hear in connections:
            try:
                hear()
            except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this one alone
                told = {"message": "a connection failed at its end", "exception": fault}
                asyncio.get_running_loop().call_exception_handler(told)

    def _ticked(self, now: float) -> None:
        self._expire([each for each in self._connections if each.deadline <= now], now)
        self.pools.ticked(now)
        if self.access_log is not None:
            self.access_log.flush()
            self._lost_lines = self.access_log.lost
        upstreams = self.pools.connections
        self.counts.ticked(upstreams=upstreams, lost_lines=self._lost_lines)
        self.memory.ticked()
        self.refused_headers.ticked(now)
        self._room.measure(len(self._connections), upstreams)

    def _expire(self, due: list[Connection], now: float) -> None:
        """Tell a few of them, and the others in the next turns of the loop."""
        for connection in due[:_EXPIRED_AT_ONCE]:
            if connection.deadline <= now and connection in self._connections:
                connection.expired()
        if len(due) > _EXPIRED_AT_ONCE:
            asyncio.get_running_loop().call_soon(self._expire, due[_EXPIRED_AT_ONCE:], now)
