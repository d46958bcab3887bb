"""A connection without TLS to something that the proxy answers itself: port 80, the admin listener.

Law: no request is ever forwarded from here.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Literal, cast

from .account import Account
from .admission import Peer
from .answers import status_of
from .errors import ClientError
from .fields import persistent
from .head import HeadBuffer, RequestHead, read_request, unreadable
from .listener import LINGER_SECONDS, Listener
from .proxy_protocol import Endpoints
from .sockets import unacknowledged
from .steps import Steps

Respond = Callable[[RequestHead, bool], bytes | Steps[bytes]]
"""(request, is this the last answer?) -> the whole answer, or what makes it. Raises ClientError."""
_ANYBODY = Peer("", trusted=False)


class PlainConnection(asyncio.Protocol):
    """A client of `respond`.

    `kind`: of what is `http`, connections are limited and requests are counted and logged; what is
    `admin` is left alone. `ends`: those that a trusted proxy has announced.
    """

    kind: str
    transport: asyncio.Transport

    def __init__(
        self,
        listener: Listener,
        respond: Respond,
        ends: Endpoints | None = None,
        *,
        kind: Literal["http", "admin"] = "http",
    ) -> None:
        self._listener = listener
        self._respond = respond
        self.kind = kind
        self._ends = ends
        self._loop = asyncio.get_running_loop()
        self._heads = HeadBuffer(listener.limits.request_head, skip_blank=True)
        self._ended = False
        self._full = self._queued = False
        # An answer is made in steps; whether it is the last one.
        self._making = False
        self._last = False
        self._peer = _ANYBODY
        self._unsent = 0
        self.deadline = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = self._ends or self.transport.get_extra_info("peername")
        if self.kind == "http":
            self._peer = self._listener.meet(peer[0] if peer else "127.0.0.1")
        self._account = Account(self._listener, self._peer.address)
        self._listener.joined(self)
        self._wait(self._listener.timeouts.request_head)
        if self._peer.refused:
            self._refuse(ClientError(503, "too many connections are open"))

    def data_received(self, data: bytes) -> None:
        try:
            idle = not self._ended and not self._making
            head = self._heads.take(data) if idle else None
            if head is None:
                return
            self._account.begin()
            self._answer(read_request(head))
        except ClientError as error:
            self._refuse(error)
        except ValueError as error:
            self._refuse(unreadable(error))
        else:
            if self._heads.data:
                self._go_on()

    def pause_writing(self) -> None:
        self._full = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        self._go_on()

    def _go_on(self) -> None:
        """Answer what was sent ahead, once it is its turn and the client takes what is said."""
        if self._full or self._making or self._queued or self.transport.is_closing():
            return
        if self._heads.data and not self._listener.ahead.passes():
            self._queued = True
            self.transport.pause_reading()
            self._listener.ahead.wait(self._turn_has_come)
        else:
            self.transport.resume_reading()
            self.data_received(b"")

    def _turn_has_come(self) -> None:
        self._queued = False
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.parted(self)
        self._listener.take_leave(self._peer)

    def expired(self) -> None:
        """The deadline has passed: for a request's head, for the next one, or for the end."""
        if self._takes():
            self._wait(LINGER_SECONDS)
        elif self._ended:
            self.transport.abort()
        elif self._heads.data:
            self._refuse(ClientError(408, "the request head did not come in time"))
        else:
            self._ended = True
            self.transport.close()

    def _takes(self) -> bool:
        """Whether the client has taken a part of what was said since this was last asked."""
        before, self._unsent = self._unsent, unacknowledged(self.transport)
        return 0 < self._unsent != before

    def drain(self) -> None:
        """No answer is under way, but for one that is made in steps."""
        self._last = True
        if not self._making:
            self._end()

    def retired(self) -> None:
        """Port 80 goes on to the next answer, and who has not asked yet: it may be on its way.
        Further figures of a former worker are of no use."""
        if self.kind == "admin" and self._account.asked is not None:
            self.drain()

    def abort(self) -> None:
        """End at once."""
        self.transport.abort()

    def _answer(self, request: RequestHead) -> None:
        self._account.asked = request
        bodiless = request.framing.length == 0
        persist = bodiless and persistent(request.version, request.fields)
        close = self._listener.draining or not persist
        error = None
        try:
            answer = self._respond(request, close)
        except ClientError as refusal:
            error = refusal
            answer = self._account.answer(error, close=close)
        if isinstance(answer, bytes):
            self._answered(answer, error, close)
        else:
            self._making, self.deadline = True, math.inf
            self.transport.pause_reading()
            self._make(answer, close)

    def _make(self, steps: Steps[bytes], close: bool) -> None:
        """Take a step towards an answer; the clients of this worker have their turn before the
        next one."""
        if self.transport.is_closing():
            return
        try:
            next(steps)
        except StopIteration as end:
            self._making = False
            self._answered(end.value, None, close or self._last)
            self._loop.call_soon(self._go_on)
        except BaseException:
            self.transport.abort()
            raise
        else:
            self._loop.call_soon(self._make, steps, close)

    def _answered(self, answer: bytes, error: ClientError | None, close: bool) -> None:
        self._say(answer, error)
        self._wait(self._listener.timeouts.keepalive)
        if close:
            self._end()

    def _say(self, answer: bytes, error: ClientError | None) -> None:
        self.transport.write(answer)
        if self.kind == "http":
            self._account.sent += len(answer)
            self._account.end(status_of(answer), error)

    def _refuse(self, error: ClientError) -> None:
        self._account.begin()
        self._say(self._account.answer(error, close=True), error)
        self._end()

    def _end(self) -> None:
        """Say no more; hear the client out for a moment, so that no reset eats the answer."""
        if not self._ended:
            self._ended = True
            self.transport.write_eof()
            self._wait(LINGER_SECONDS)

    def _wait(self, seconds: float | None) -> None:
        self.deadline = math.inf if seconds is None else self._loop.time() + seconds
