"""A client's connection.

Law: one thing at a time. A connection waits for a head, or is held by one exchange, or by one
tunnel; what comes early waits, in bounded space. One deadline says how long that may last.
"""

import asyncio
import math
from typing import cast

from .account import Account
from .admission import Peer
from .clock import NEXT_TICK
from .engine import ROOM, HandshakeError, Plain
from .errors import ClientError, UpstreamError
from .exchange import Exchange
from .fast_lane import FastLane
from .head import HeadBuffer, unreadable
from .listener import LINGER_SECONDS, Listener
from .proxy_protocol import Endpoints
from .reception import Reception
from .routing import Site
from .sockets import hold_more, reset, unacknowledged
from .tls import RecordLayer
from .tunnel import Tunnel
from .upstream import Upstream

# What a client may send ahead of its turn (pipelining, a tunnel's first bytes) before it must wait.
AHEAD = 64 * 1024
# How far a connection is. QUEUED: what was sent ahead waits for its turn. LINGERING: answered
# for the last time, what still comes is thrown away until the client is done. CLOSING: everything
# is said, it ends when the write buffer is empty.
# (A member of an Enum would take 0.1 µs to look up in Python 3.11.)
_HANDSHAKE, _OPEN, _QUEUED, _LINGERING, _CLOSING = range(5)


class Downstream(asyncio.BufferedProtocol):
    """One client over TLS: its requests, one after the other, or its tunnel.

    `ends`: those that a trusted proxy has announced, in the place of the socket's.
    """

    transport: asyncio.Transport
    kind = "https"
    _account: Account
    _layer: RecordLayer
    _peer: Peer
    _reception: Reception
    _site: Site

    def __init__(self, listener: Listener, ends: Endpoints | None = None) -> None:
        self._listener = listener
        self._ends = ends
        self._loop = asyncio.get_running_loop()
        self._heads = HeadBuffer(listener.limits.request_head, skip_blank=True)
        self._state = _HANDSHAKE
        self._holder: Exchange | FastLane | Tunnel | None = None
        self._client_done = self._held = self._reads = False
        self._writable, self._unsent, self.deadline = True, -1, math.inf

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = self._ends or self.transport.get_extra_info("peername") or ("127.0.0.1", 0)
        self._peer = self._listener.meet(peer[0])
        self._account = Account(self._listener, self._peer.address)
        self._layer = self._listener.record_layer(self.transport)
        self._listener.joined(self)
        self._wait(self._listener.timeouts.handshake)

    def get_buffer(self, sizehint: int) -> memoryview:
        return ROOM

    def buffer_updated(self, nbytes: int) -> None:
        if self._client_done:
            return  # OpenSSL would keep it, and never read it
        if self._state == _HANDSHAKE and self._listener.newcomers.holds(self, nbytes):
            return
        try:
            plain = self._layer.receive_room(nbytes)
        except (HandshakeError, ConnectionError) as error:
            self._account.handshake_failed(getattr(error, "reason", "protocol"))
            self._let_go()
            self._close_transport()  # a reset would take the alert from the client
            return
        if self._state == _HANDSHAKE and self._layer.established:
            self._greeted()
        if plain:
            self._received(plain)
        if self._layer.ended:
            self._client_ended()

    def eof_received(self) -> bool:
        if not self._client_done:
            self._client_ended()
        return isinstance(self._holder, Tunnel) and not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.parted(self)
        self._listener.take_leave(self._peer)
        self._state = _CLOSING
        self._let_go()
        if hasattr(self, "_reception"):
            self._reception.end()

    def pause_writing(self) -> None:
        self._writable = False
        if self._holder is not None:
            self._holder.client_full()

    def resume_writing(self) -> None:
        self._writable, self._reads = True, self._reads or hold_more(self.transport)
        if self._holder is not None:
            self._holder.client_drained()
        elif self._state == _OPEN:
            self._await_request()

    # From the worker.

    def expired(self) -> None:
        """The deadline has passed."""
        deadline, self.deadline = self.deadline, math.inf
        if deadline is NEXT_TICK:
            self._layer.flush()  # the session tickets: nothing was sent before
            self._wait(self._listener.first_request_within)
        elif self._holder is not None:
            self._holder.expired()
        elif self._state == _OPEN and self._heads.data:
            self._account.begin()
            self._answer(ClientError(408, "the request head did not come in time"), persist=False)
        elif self._state == _OPEN:
            self.close()
        elif self._state == _LINGERING:
            self._close_transport()
        elif self._state == _CLOSING and self._unsent != self.unsent():
            self._unsent = self.unsent()
            self._wait(self._listener.timeouts.response_body)
        else:
            self._account.handshake_failed("timeout")
            self.abort()

    def drain(self) -> None:
        """The process is ending: finish what is under way; who just came may ask once."""
        if isinstance(self._holder, Tunnel):
            self._holder.drain()
        elif not (self._account.request_id or self._heads.data or self.transport.is_closing()):
            self._wait(self._listener.first_request_within)
        elif self._holder is None and not self._heads.data and self._state != _CLOSING:
            self.close()

    def retired(self) -> None:
        """A tunnel lives on, and one granted since begins, unless its site has been taken out."""
        if isinstance(self._holder, Tunnel) and self._site.name not in self._listener.table.sites:
            self._holder.retire()

    # From the exchange and the tunnel.

    def send(self, data: Plain) -> None:
        self._account.sent += len(data)
        self._layer.send(data)

    def send_last(self, data: bytes) -> None:
        self._account.sent += len(data)
        self._layer.send_last(data)

    def endpoints(self) -> Endpoints | None:
        info = self.transport.get_extra_info
        return self._ends or Endpoints.of(info("peername"), info("sockname"))

    def writable(self) -> bool:
        return self._writable

    def unsent(self) -> int:
        return unacknowledged(self.transport)

    def hold(self) -> None:
        if not self._held and not self.transport.is_closing():
            self._held = True
            self.transport.pause_reading()

    def release(self) -> None:
        if self._held and len(self._heads.data) <= max(AHEAD, self._heads.limit):
            self._held = self.transport.is_closing()
            if not self._held:
                self.transport.resume_reading()

    def wait_until(self, deadline: float | None) -> None:
        self.deadline = math.inf if deadline is None else deadline

    def left_fast_lane(self, exchange: Exchange) -> None:
        self._holder = exchange

    def exchange_ended(self, *, persist: bool) -> None:
        holder, self._holder = self._holder, None
        self._account.exchange_ended()
        if isinstance(holder, Exchange) and not holder.request_complete:
            self.finish()
            self.break_off()
        elif not persist:
            self.close()
        else:
            self._await_request()

    def exchange_failed(self, error: ClientError | UpstreamError, *, persist: bool) -> None:
        self._holder = None
        self._answer(error, persist=persist)
        if self._state == _OPEN:
            self._await_request()

    def exchange_aborted(self) -> None:
        self._holder = None
        self.abort()

    def exchange_switched(self, upstream: Upstream, early: bytes, protocols: list[bytes]) -> None:
        websocket = protocols == [b"websocket"]
        self._account.exchange_switched(websocket=websocket)
        idle = self._listener.timeouts.websocket_idle
        self._holder = tunnel = Tunnel(self, upstream, websocket=websocket, idle=idle)
        ahead, self._heads.data = self._heads.data, b""
        self.release()
        tunnel.begin(early, ahead, ending=self._listener.ending)
        self.retired()

    def finish(self) -> None:
        if not self.transport.is_closing():
            self._layer.finish()
            self.transport.write_eof()

    def close(self) -> None:
        self._layer.finish()
        self._close_transport()

    def break_off(self) -> None:
        """Say no more; hear the client out for a moment, so that no reset eats what was said."""
        self._holder, self._heads.data = None, b""
        self._state = _LINGERING
        self._layer.fall_silent()
        if not self.transport.is_closing():
            self.transport.write_eof()
        self.release()
        self._wait(LINGER_SECONDS)

    def abort(self) -> None:
        self._account.aborted()
        self._state = _CLOSING
        reset(self.transport)

    # The requests.

    def _greeted(self) -> None:
        self._account.greeted(self._layer.session)
        site = self._listener.table.site(self._layer.server_name)
        if site is None or self._layer.challenged:
            # Taken out meanwhile; or an authority, which has seen what it came for (RFC 8737 §3).
            self.close()
            return
        self._site = site
        self._account.site = site.name
        self._reception = Reception(self._listener, self, self._account, self._peer, site)
        self._state = _OPEN
        self.deadline = NEXT_TICK

    def _received(self, data: Plain) -> None:
        holder = self._holder
        if holder is None:
            if self._state == _OPEN and self._writable:
                self._next_request(bytes(data))
            elif self._state == _OPEN or self._state == _QUEUED:
                self._wait_for_turn(data)
        elif isinstance(holder, Tunnel):
            self._account.received += len(data)
            holder.client_received(data)
        else:
            exchange = holder.leave() if isinstance(holder, FastLane) else holder
            self._more_of_request(exchange, data)

    def _more_of_request(self, exchange: Exchange, data: Plain) -> None:
        try:
            rest = data if exchange.request_complete else exchange.client_received(data)
        except ClientError as error:
            exchange.client_left()
            if exchange.response_begun:
                self.exchange_aborted()
            else:
                self.exchange_failed(error, persist=False)
            return
        if rest and self._holder is exchange:
            self._wait_for_turn(rest)

    def _wait_for_turn(self, data: Plain) -> None:
        """Keep what came ahead; a client that sends too much of it is read no further."""
        self._heads.data += data
        if len(self._heads.data) > AHEAD and self._state != _LINGERING:
            self.hold()

    def _await_request(self) -> None:
        if self._listener.ending and not self._heads.data:
            self.close()
            return
        self._wait(self._listener.timeouts.keepalive)
        if self._held:
            self.release()
        if not self._heads.data or not self._writable:
            return
        if self._listener.ahead.passes():
            self._next_request(b"")
        else:
            self._state, self.deadline = _QUEUED, math.inf
            self._listener.ahead.wait(self._turn_has_come)

    def _turn_has_come(self) -> None:
        if self._state == _QUEUED:
            self._state = _OPEN
            self._await_request()

    def _next_request(self, data: bytes) -> None:
        """Begin a request, unless its head is not all there yet."""
        lane = self._reception.lane
        if lane is not None and not self._heads.data and data:
            self._holder = lane
            if lane.begin(data):
                return
            self._holder = None
        try:
            head = self._heads.take(data)
        except ValueError as error:
            self._account.begin()
            self._answer(unreadable(error), persist=False)
            return
        if head is None:
            if self._heads.data and self._account.head_begun():
                self._wait(self._listener.timeouts.request_head)
            return
        rest, self._heads.data = self._heads.data, b""
        self._begin(head, rest)
        if self._heads.data and self._holder is None and self._state == _OPEN:
            self._await_request()

    def _begin(self, head: bytes, rest: bytes) -> None:
        """Start the exchange for one head, or answer it here."""
        reception = self._reception
        self._account.begin()
        self.deadline = math.inf
        try:
            received = reception.receive(head)
            if received is None:
                self._heads.data = rest
                close = not self._persists(reception.persist)
                self.send(self._account.options_answer(close=close))
                self._account.end(200)
                self._go_on(persist=reception.persist)
            else:
                self._holder, question = received
                self._wait_for_turn(self._holder.begin(rest, question))
        except ClientError as error:
            self._holder, self._heads.data = None, rest
            self._answer(error, persist=reception.persist)

    # The proxy's own answers, and the end.

    def _answer(self, error: ClientError | UpstreamError, *, persist: bool) -> None:
        persist = persist and not self._peer.refused
        self.send(self._account.answer(error, close=not self._persists(persist)))
        self._account.end(error.status, error)
        self._go_on(persist=persist)

    def _persists(self, persist: bool) -> bool:
        return persist and not self._listener.draining

    def _go_on(self, *, persist: bool) -> None:
        """After an answer of the proxy's own: unless the connection persists, it was the last."""
        if not self._persists(persist):
            self.finish()
            self.break_off()

    def _client_ended(self) -> None:
        """The client says nothing more. In a tunnel it still listens; in HTTP it has left."""
        self._client_done = True
        if isinstance(self._holder, Tunnel):
            self._holder.client_ended()
        else:
            self._let_go()
            self.close()

    def _let_go(self) -> None:
        self._account.client_left()
        holder, self._holder = self._holder, None
        if holder is not None:
            holder.client_left()

    def _close_transport(self) -> None:
        self._state, self._holder = _CLOSING, None
        if self.transport.get_write_buffer_size():
            self._unsent = self.unsent()
            self._wait(self._listener.timeouts.response_body)
        self.transport.close()

    def _wait(self, seconds: float | None) -> None:
        self.deadline = math.inf if seconds is None else self._loop.time() + seconds
