"""The account of one connection: its handshake, and how each of its requests ended.

Law: every request has exactly one end, whoever brings it about; it is counted and logged then. Once
it has ended, whatever else is said of it finds nothing to end.
"""

import time
from typing import Protocol

from .access_log import Common, Entry, Own
from .answers import error_answer, options_answer, strict_transport
from .config import Origin
from .engine import NO_MEMORY, Session
from .errors import ClientError, UpstreamError
from .head import RequestHead
from .hop import Sender
from .listener import Listener

_now = time.perf_counter_ns
# What nginx writes where the client left before there was an answer.
CLIENT_LEFT = 499
_NO_SESSION = Session("", "", False)


class Served(Protocol):
    """An exchange, by whatever way; see `exchange.Exchange` for what each of these means."""

    @property
    def method(self) -> bytes: ...
    @property
    def origin(self) -> Origin | None: ...
    @property
    def status(self) -> int: ...
    @property
    def answered_at(self) -> int: ...
    @property
    def received(self) -> int: ...
    @property
    def failures(self) -> tuple[str, ...]: ...


class Account:
    """One client's connection, and the request that is under way on it.

    `peer` is the other end's address, `site` the name of the connection's site. Of the request:
    its id, and what is `asked`, by whom, in which `exchange`, each as soon as it is known; on the
    fast lane, only its `target`. `sent` and `received` grow with the bytes of answers and tunnels,
    as they are before TLS.
    """

    __slots__ = (
        "_before",
        "_began",
        "_common",
        "_counts",
        "_listener",
        "_origin",
        "_session",
        "_tunnelled",
        "_websocket",
        "asked",
        "exchange",
        "peer",
        "received",
        "request_id",
        "sender",
        "sent",
        "site",
        "target",
    )

    def __init__(self, listener: Listener, peer: str) -> None:
        self._listener = listener
        self._counts = listener.counts
        self.peer = peer
        self.site = ""
        self.request_id = b""
        self.asked: RequestHead | None = None
        self.target = b""
        self._common: Common | None = None
        self._origin: Origin | None = None
        self.sender: Sender | None = None
        self.exchange: Served | None = None
        self.sent = self.received = 0
        self._session: Session | None = None
        self._before = self._began = 0
        self._tunnelled = self._websocket = False

    # The handshake.

    def greeted(self, session: Session) -> None:
        """The handshake is done."""
        self._session = session
        version, group, resumed = session
        self._counts.handshake(version, group, resumed=resumed)

    def handshake_failed(self, reason: str) -> None:
        """The handshake will never be done, if it is not."""
        if self._session is None:
            self._session = _NO_SESSION
            self._counts.handshake_failed(reason)
            if reason == NO_MEMORY:
                self._listener.memory.met()

    # A request.

    def head_begun(self) -> bool:
        """The first bytes of a request are here, the rest of its head is not; False: as before."""
        if self._began:
            return False
        self._began = _now()
        return True

    def begin(self) -> None:
        """A request is to be judged: it gets an id."""
        self._began = self._began or _now()
        self._before = self.sent
        self.asked = self.sender = self.exchange = None
        self.request_id = next(self._listener.request_ids)

    def answer(self, error: ClientError | UpstreamError, *, close: bool) -> bytes:
        """The answer to the request that tells the client of an error; `close`: it is the last."""
        return error_answer(
            error,
            request_id=self.request_id,
            date=self._listener.clock.date,
            close=close,
            bodiless=self.asked is not None and self.asked.method == b"HEAD",
            fields=self._strict_transport(),
        )

    def options_answer(self, *, close: bool) -> bytes:
        """The answer to OPTIONS that asks the proxy itself."""
        fields = self._strict_transport()
        return options_answer(date=self._listener.clock.date, close=close, fields=fields)

    def _strict_transport(self) -> bytes:
        """What `hsts` adds to each answer of its site (RFC 6797 §7.1), never without TLS (§7.2):
        there a connection has no site."""
        site = self._listener.table.sites.get(self.site)
        if site is None or site.config.hsts is None or self._site_asked() != self.site:
            return b""
        return strict_transport(site.config.hsts)

    def end(self, status: int, error: ClientError | UpstreamError | str | None = None) -> None:
        """The request has ended; `status` is that of its answer, be it whole or not."""
        if not self._began:
            return
        took = _now() - self._began
        if not self._tunnelled:
            self._count(status, took)
        if self._listener.access_log is not None:
            self._log(status, took, error)
        self._began = 0
        self.exchange = None

    def exchange_ended(self) -> None:
        """The client has the whole response."""
        exchange = self.exchange
        assert exchange is not None
        if exchange.failures:
            self.end(exchange.status)
            return
        # What nearly every request does, in the steps that it needs: with `begin` 1 µs in all.
        took = _now() - self._began
        self._counts.request(self.site, exchange.method, exchange.status, took)
        if self._listener.access_log is not None:
            if self.asked is None:
                self._log_known(exchange, took)
            else:
                self._log(exchange.status, took, None)
        self._began = 0
        self.exchange = None

    def exchange_switched(self, *, websocket: bool) -> None:
        """The answer was a 101: what follows is a tunnel, to the end of the connection."""
        self._count(101, _now() - self._began)
        self._tunnelled, self._websocket = True, websocket
        if websocket:
            self._counts.websocket_began(self.site)

    def aborted(self) -> None:
        """The connection is ended before its time, for what the upstream did if it did anything."""
        failures = self.exchange.failures if self.exchange is not None else ()
        self._broken(failures[-1] if failures else "aborted")

    def client_left(self) -> None:
        """The client's end of the connection is gone."""
        self.handshake_failed("closed")
        self._broken("client_left")

    def _broken(self, error: str) -> None:
        """What is under way ends here; a tunnel has no other end than this."""
        if self._websocket:
            self._websocket = False
            self._counts.websocket_ended(self.site)
        if self._tunnelled:
            self.end(101)
        elif self.exchange is not None:
            self.end(self.exchange.status or CLIENT_LEFT, error)

    def _count(self, status: int, took: int) -> None:
        counts, site = self._counts, self._site_asked()
        known = self.exchange or self.asked
        counts.request(site, b"" if known is None else known.method, status, took)
        if self.exchange is not None and self.exchange.failures:
            for reason in self.exchange.failures:
                counts.upstream_failed(site, reason)

    def _site_asked(self) -> str:
        """The site the request is for: by its Host, or else the connection's."""
        if self.exchange is not None or self.asked is None:
            return self.site
        site = self._listener.table.site(self.asked.host_name)
        return "" if site is None else site.name

    def _log(self, status: int, took: int, error: ClientError | UpstreamError | str | None) -> None:
        exchange, sender, asked = self.exchange, self.sender, self.asked
        answered, received, origin = 0, self.received, None
        if exchange is not None:
            answered, origin = exchange.answered_at, exchange.origin
            received += exchange.received
        access_log = self._listener.access_log
        assert access_log is not None
        line = (b"", b"", b"") if asked is None else asked[:3]
        if asked is None and exchange is not None:
            line = (exchange.method, self.target, b"1.1")
        access_log.write(
            Entry(
                time.time(),
                self.request_id,
                self._site_asked(),
                self.peer if sender is None else sender.address,
                *line,
                status,
                self.sent - self._before,
                received,
                took / 1e9,
                None if origin is None else str(origin),
                (answered - self._began) / 1e9 if answered else None,
                *(self._session or _NO_SESSION),
                error if error is None or isinstance(error, str) else _label(error),
            )
        )

    def _log_known(self, lane: Served, took: int) -> None:
        """As `_log`, for a request whose fields are known: nearly all is as in the line before."""
        common, origin, status = self._common, lane.origin, lane.status
        if common is None or origin is not self._origin or status != common.status:
            self._origin, session = origin, self._session or _NO_SESSION
            said = None if origin is None else str(origin)
            common = self._common = Common(
                self.site, self.peer, lane.method, b"1.1", status, said, *session
            )
        waited = (lane.answered_at - self._began) / 1e9 if lane.answered_at else None
        sent = self.sent - self._before
        access_log = self._listener.access_log
        assert access_log is not None
        access_log.add(
            common,
            Own(time.time(), self.request_id, self.target, sent, self.received, took / 1e9, waited),
        )


def _label(error: ClientError | UpstreamError) -> str:
    return error.reason.replace(" ", "_")
