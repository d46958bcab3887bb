"""An exchange whose request and response are known by their bytes: read, found, written.

Law: it judges nothing. It takes a request that `memo` knows onto a kept connection, and gives an
answer that `memo` knows back to the client; at whatever else happens it leaves the road to an
`Exchange`, which goes on as if it had begun the request itself.

Why: a tracker's requests are announces, which differ in their target and in nothing else. Without
TLS and the kernel's share, one costs 7 µs of CPU here and 39 as an `Exchange` whose fields are
remembered (`python -m bench.exchange`).
"""

import asyncio
import time
from typing import Protocol

from .account import Account
from .client import Client
from .config import Origin
from .errors import ClientError
from .exchange import Exchange
from .head import RequestHead
from .hop import Sender
from .listener import Listener, Road
from .memo import Known
from .routing import Site
from .upstream import Upstream


class Driver(Client, Protocol):
    """A client's connection that may use the fast lane."""

    def left_fast_lane(self, exchange: Exchange) -> None:
        """The request under way is this exchange's from now on."""


class FastLane:
    """The fast lane of one client's connection to one site.

    For the account it is what an `Exchange` is, so `origin`, `status`, `received`, `answered_at`
    and `failures` mean the same. The client is no trusted proxy: it is at the other end itself.
    """

    __slots__ = (
        "_account",
        "_address",
        "_client",
        "_known",
        "_listener",
        "_loop",
        "_only",
        "_road",
        "_route",
        "_said",
        "_site",
        "_upstream",
        "answered_at",
        "status",
    )

    method = b"GET"
    received = 0
    failures: tuple[str, ...] = ()
    _known: Known
    _road: Road
    _upstream: Upstream

    def __init__(
        self, listener: Listener, client: Driver, account: Account, site: Site, address: str
    ) -> None:
        self._listener = listener
        self._client = client
        self._account = account
        self._site = site
        self._address = address
        self._said = b"X-Forwarded-For: %b\r\nX-Request-ID: " % address.encode("ascii")
        self._loop = asyncio.get_running_loop()
        self._route = site.default
        # The one of all requests, unless there are others: found for each it took 0.3 µs.
        self._only = None if site.prefixes else listener.road(site.default)
        self.status = self.answered_at = 0

    @property
    def origin(self) -> Origin:
        """Where the request went."""
        return self._road.pool.origin

    def begin(self, data: bytes) -> bool:
        """Take a request that is known and send it on; False where anything is against that."""
        listener = self._listener
        if listener.draining or len(data) > listener.limits.request_head:
            return False
        road = self._only or self._find_road(data)
        found = None if road is None else road.memo.request(data, listener.clock.date)
        if road is None or found is None or road.pool.standing.marked:
            return False
        upstream = road.pool.lease(repeatable=True)
        if upstream is None:
            return False
        self._road, self._upstream = road, upstream
        self._send_on(*found)
        return True

    def _find_road(self, data: bytes) -> Road | None:
        try:
            self._route = self._site.route(data[4:])
        except ClientError:
            return None
        return self._listener.road(self._route)

    def _send_on(self, target: bytes, known: Known) -> None:
        listener, account, upstream = self._listener, self._account, self._upstream
        self._known = known
        account.begin()
        account.exchange = self
        account.target = target
        self.status = self.answered_at = 0
        upstream.receiver = self
        upstream.transport.write(
            b"".join((b"GET ", target, known.front, self._said, account.request_id, known.tail))
        )
        patience = listener.timeouts.response_head
        self._client.wait_until(None if patience is None else self._loop.time() + patience)

    def _introduce(self) -> RequestHead:
        """Say in the account what is asked and by whom, for an exchange."""
        account = self._account
        request = account.asked = self._known.request(account.target)
        account.sender = Sender(self._address, account.request_id, trusted=False)
        return request

    def upstream_received(self, data: bytes) -> None:
        """The response, or a part of it, or what is none."""
        listener, known = self._listener, self._known
        found = None
        if not listener.draining:
            found = self._road.memo.answer(data, listener.clock.date, persist=known.persist)
        if found is None:
            self._learn(data)
            self.leave().upstream_received(data)
            return
        body, answer = found
        self.status = answer.status
        if listener.access_log is not None:
            self.answered_at = time.perf_counter_ns()
        upstream = self._upstream
        if self._road.pool.standing.failures:
            upstream.answered()
        send = self._client.send if known.persist else self._client.send_last
        send(answer.head + data[body:] if answer.length else answer.head)
        upstream.give_back()
        self._client.exchange_ended(persist=known.persist)

    def _learn(self, data: bytes) -> None:
        listener, memo = self._listener, self._road.memo
        memo.learn_answer(data, self._introduce(), listener.limits, listener.clock.date)

    def leave(self) -> Exchange:
        """Let an exchange go on from here."""
        request, sender = self._introduce(), self._account.sender
        assert sender is not None
        exchange = Exchange(self._listener, self._client, request, self._route, sender)
        self._account.exchange = exchange
        self._client.left_fast_lane(exchange)
        exchange.take_over(self._upstream)
        return exchange

    # Whatever else may happen, to either end.

    def upstream_ended(self) -> bool:
        return self.leave().upstream_ended()

    def upstream_lost(self) -> None:
        self.leave().upstream_lost()

    def upstream_full(self) -> None:
        self.leave().upstream_full()

    def upstream_drained(self) -> None:
        self.leave().upstream_drained()

    def client_left(self) -> None:
        """The client is gone: the upstream shall not work on for nobody."""
        self._upstream.close()

    def client_full(self) -> None:
        # Full of the very answer that is being given: there is nothing more to come.
        if not self.status:
            self.leave().client_full()

    def client_drained(self) -> None:
        self.leave().client_drained()

    def expired(self) -> None:
        """Nothing has come for as long as the configuration allows."""
        self.leave().expired()
