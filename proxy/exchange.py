"""One request and its one response.

Law: never fake a clean end. What the client sees as a complete answer is one; whatever breaks
after the head was sent on ends in an aborted connection.

What a failure of the upstream leads to is one table (`verdict`). Time is measured on progress,
never on totals: each byte that passes starts the patience anew (`_watch`).
"""

import asyncio
import time
from collections.abc import Coroutine
from functools import partial

from .body import Body
from .client import Client
from .config import Origin
from .doorkeeper import Question
from .engine import Plain
from .errors import ClientError, UpstreamError
from .fields import persistent, upgrade_asked, upgrade_granted
from .head import HeadBuffer, RequestHead, ResponseHead, read_response
from .hop import (
    Sender,
    interim_head,
    request_after_host,
    request_line,
    request_piece,
    switching_head,
)
from .listener import Listener
from .pool import Pool
from .reply import Reply
from .routing import Route
from .sockets import unacknowledged
from .upstream import Upstream
from .verdict import IDEMPOTENT, VERDICTS, Verdict

# What is kept of a request body so that it can be sent again, or while a connection is opened.
HELD_BODY = 64 * 1024


class Exchange:
    """One request on its way to an origin, and the response on its way back.

    For its account: the `origin` asked last; `status` of the response sent on, 0 before, when it
    was `answered_at` (perf_counter_ns), where a log is kept; `received` content; all `failures`.
    """

    def __init__(
        self, listener: Listener, client: Client, request: RequestHead, route: Route, sender: Sender
    ) -> None:
        self._listener = listener
        self._client = client
        self._request = request
        self._route = route
        self._sender = sender
        self._loop = asyncio.get_running_loop()
        self._upgrade = upgrade_asked(request.version, request.fields)
        self._after_host = request_after_host(request, route.rules, sender, self._upgrade)
        self._body = Body.of_request(request, listener.limits)
        self._upstream: Upstream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._retried = False
        self._answered = False
        # What of the body that was sent or waits to be: None when it is not, or no longer, kept.
        self._kept: bytes | None = b""
        self._response_heads = HeadBuffer(listener.limits.response_head)
        self._reply: Reply | None = None
        self._unsent = -1
        self.origin: Origin | None = None
        self.status = self.answered_at = self.received = 0
        self.failures: tuple[str, ...] = ()
        # Until the origin says go on, the client owes no body (RFC 9110 §10.1.1).
        self._waits = request.version == b"1.1" and bool(request.fields.values(b"expect"))

    # The request, from the client to the upstream.

    @property
    def method(self) -> bytes:
        """That of the request."""
        return self._request.method

    @property
    def request_complete(self) -> bool:
        """Whether the whole request has come from the client."""
        return self._body.done

    @property
    def response_begun(self) -> bool:
        """Whether the response's final head has been sent to the client."""
        return self._reply is not None

    def begin(self, data: bytes, question: Question | None = None) -> bytes:
        """Start with the bytes behind the head; returns those that belong to no part of it.

        Nothing is sent to an origin before the `question` whether this may be has its answer.
        Raises ClientError if the body is malformed or too large.
        """
        rest = self.client_received(data)
        if question is None:
            self._lease()
        else:
            question.awaited_by(self._begin_beside(self._lease_after(question)))
        return rest

    def take_over(self, upstream: Upstream) -> None:
        """Go on with a request without a body that was sent on this kept connection already."""
        self._upstream = upstream
        self.origin = self._route.config.to[0]
        upstream.receiver = self
        self._watch()

    def client_received(self, data: Plain) -> bytes:
        """Take more of the request; returns what is behind its end. Raises ClientError."""
        if self._body.done or not data:
            return bytes(data)
        self._waits = False
        dropped = self._route.rules.request_dropped
        piece, size = request_piece(self._body, data, self._request.fields, dropped)
        self.received += size
        self._keep(piece)
        if self._upstream is not None:
            self._upstream.write(piece)
            self._watch()
        return self._body.rest

    def client_left(self) -> None:
        """The client is gone: the upstream shall not work on for nobody."""
        self._let_go()

    def client_full(self) -> None:
        if self._upstream is not None:
            self._upstream.transport.pause_reading()
            self._watch()

    def client_drained(self) -> None:
        if self._upstream is not None:
            self._upstream.transport.resume_reading()
            self._watch()

    def _keep(self, piece: Plain) -> None:
        """Remember what may have to be sent again; while nobody takes it, read no further."""
        if self._kept is None:
            return
        self._kept += piece
        if len(self._kept) <= HELD_BODY:
            return
        if self._upstream is None:
            self._client.hold()
        else:
            self._kept = None

    # The connection to the upstream.

    async def _lease_after(self, question: Question) -> None:
        refusal = await question.answer()
        if refusal is None:
            self._lease()
        else:
            self._connecting = None
            self._client.exchange_failed(refusal, persist=self._may_persist())

    def _lease(self) -> None:
        pool = self._listener.pools.choose(self._listener.healthy(self._route))
        if pool is None:
            self._failed(UpstreamError(503, "unhealthy"))
            return
        self.origin = pool.origin
        kept_whole = self._body.done or self._request.framing.within(HELD_BODY)
        repeatable = kept_whole and self._request.method in IDEMPOTENT
        upstream = None if self._retried else pool.lease(repeatable=repeatable)
        if upstream is not None:
            self._leased(upstream)
        else:
            # Opening has a time of its own; that of a stale connection ends here.
            self._client.wait_until(None)
            self._begin_beside(self._connect(pool))

    async def _connect(self, pool: Pool) -> None:
        told = (ends := self._client.endpoints()) and ends.from_client(self._sender.address)
        others = partial(self._listener.healthy, self._route)
        try:
            upstream = await self._listener.pools.connect(pool, others, told, self._turned_to)
        except UpstreamError as error:
            self._failed(error)
        else:
            self._leased(upstream)

    def _turned_to(self, origin: Origin, reason: str) -> None:
        self.origin = origin
        self.failures += (reason,)

    def _begin_beside(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        self._connecting = task = self._loop.create_task(work)
        task.add_done_callback(self._beside_done)
        return task

    def _beside_done(self, task: asyncio.Task[None]) -> None:
        """A fault of ours is told, and leaves no client waiting."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "in an exchange", "exception": fault})
            if self._connecting is not None or self._upstream is not None:
                self._failed(UpstreamError(502, "fault"))

    def _leased(self, upstream: Upstream) -> None:
        self._upstream, self._connecting = upstream, None
        upstream.receiver = self
        assert self._kept is not None, "nothing is dropped before it has been sent once"
        host = self._request.host
        if self._route.config.host_header == "upstream" and self.origin is not None:
            host = self.origin.authority.encode("ascii")
        # Before the write, which may find the upstream full and hold the client again.
        self._client.release()
        line = request_line(self._request, host)
        upstream.transport.write(line + self._after_host + self._kept)
        if not upstream.reused:
            self._kept = None
        self._watch()

    def upstream_full(self) -> None:
        self._client.hold()
        self._watch()

    def upstream_drained(self) -> None:
        self._client.release()
        self._watch()

    # The response, from the upstream to the client.

    def upstream_received(self, data: bytes) -> None:
        self._answered = True
        try:
            if self._reply is None:
                self._read_heads(data)
            else:
                self._pass_on(self._reply, self._reply.read(data))
        except UpstreamError as error:
            self._failed(error)
        except ValueError:
            self._failed(UpstreamError(502, "malformed"))

    def upstream_ended(self) -> bool:
        try:
            if self._reply is None:
                raise UpstreamError(502, "closed")
            self._pass_on(self._reply, self._reply.end())
        except UpstreamError as error:
            self._failed(error)
        return False

    def upstream_lost(self) -> None:
        if self._upstream is not None:
            self._failed(UpstreamError(502, "reset"))

    def expired(self) -> None:
        """Nothing has moved for as long as the configuration allows."""
        if self._still_moving():
            self._watch()
        elif self._reply is None and not self._waits_for_upstream():
            self.client_left()
            error = ClientError(408, "the request body did not come in time")
            self._client.exchange_failed(error, persist=False)
        else:
            self._failed(UpstreamError(504, "timeout"))

    def _read_heads(self, data: bytes) -> None:
        while True:
            head = self._response_heads.take(data)
            if head is None:
                self._watch()
                return
            response = read_response(head, bodiless=self._request.method == b"HEAD")
            rest, self._response_heads.data = self._response_heads.data, b""
            if response.status >= 200:
                self._begin_reply(response, rest)
                return
            if response.status == 101:
                self._switch(response, rest)
                return
            self._waits = self._waits and response.status != 100
            if self._request.version == b"1.1":
                self._client.send(interim_head(response))
            # All heads of one response share the limit, as in Go since 1.24: a bound on number
            # would end a long job that says 102 every half minute.
            self._response_heads.limit -= len(head)
            data = rest

    def _switch(self, response: ResponseHead, early: bytes) -> None:
        if not upgrade_granted(self._upgrade, response.fields) or not self._body.done:
            raise UpstreamError(502, "upgrade_not_asked")
        upstream = self._upstream
        assert upstream is not None
        protocols = response.fields.elements(b"upgrade")
        self.status = 101
        upstream.answered()
        self._client.send(switching_head(response))
        self._upstream = None
        self._client.exchange_switched(upstream, early, protocols)

    def _begin_reply(self, response: ResponseHead, rest: bytes) -> None:
        reply = Reply(
            self._request,
            response,
            self._route.rules,
            self._listener.limits,
            date=self._listener.clock.date,
            may_persist=self._body.done and not self._listener.draining,
        )
        piece = reply.head + reply.read(rest)
        self._reply = reply
        self.status = response.status
        if self._listener.access_log is not None:
            self.answered_at = time.perf_counter_ns()
        assert self._upstream is not None
        self._upstream.answered()
        self._pass_on(reply, piece)

    def _pass_on(self, reply: Reply, piece: bytes) -> None:
        if reply.done and self._body.done and not reply.persist:
            self._client.send_last(piece)
        elif piece:
            self._client.send(piece)
        if reply.done:
            self._finish(reply)
        else:
            self._watch()

    def _finish(self, reply: Reply) -> None:
        """The client has its whole response: free both connections."""
        # Full, it would not say so again, and would never hold the next client.
        reusable = self._body.done and reply.upstream_persists and not self._upstream_is_full()
        upstream, self._upstream = self._upstream, None
        assert upstream is not None
        if reusable:
            upstream.transport.resume_reading()
            upstream.give_back()
        else:
            upstream.close()
        self._client.exchange_ended(persist=reply.persist)

    # Failures and patience.

    def _let_go(self) -> None:
        """Ask nobody any more."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._upstream is not None:
            self._upstream.close()
        self._upstream = self._connecting = None

    def _failed(self, error: UpstreamError) -> None:
        upstream = self._upstream
        self._let_go()
        stale = upstream is not None and upstream.reused and not self._answered
        kept = self._kept is not None and self._request.method in IDEMPOTENT
        repeatable = kept and stale and error.status == 502
        if upstream is not None and self._reply is None and error.status == 502 and not stale:
            upstream.failed(error.reason)
        verdict = VERDICTS[self._reply is not None, repeatable]
        self.failures += ("stale" if verdict is Verdict.RETRY_ONCE else error.reason,)
        if verdict is Verdict.RETRY_ONCE:
            self._retried = True
            self._lease()
        elif verdict is Verdict.ANSWER:
            self._client.exchange_failed(error, persist=self._may_persist())
        else:
            self._client.exchange_aborted()

    def _may_persist(self) -> bool:
        """Whether another request may follow on the client's connection."""
        return self._body.done and persistent(self._request.version, self._request.fields)

    def _watch(self) -> None:
        """Start the patience anew that fits what is being waited for."""
        timeouts = self._listener.timeouts
        if self._reply is not None:
            seconds = timeouts.response_body
        elif self._waits_for_upstream():
            seconds = timeouts.response_head
        else:
            seconds = timeouts.request_body
        self._client.wait_until(None if seconds is None else self._loop.time() + seconds)

    def _waits_for_upstream(self) -> bool:
        return self._body.done or self._waits or self._upstream_is_full()

    def _upstream_is_full(self) -> bool:
        return self._upstream is not None and self._upstream.transport.get_write_buffer_size() > 0

    def _still_moving(self) -> bool:
        """Whether the peer that is slow to read has taken anything since this was last asked."""
        if self._reply is not None and not self._client.writable():
            unsent = self._client.unsent()
        elif self._upstream is not None and self._upstream_is_full():
            unsent = unacknowledged(self._upstream.transport)
        else:
            return False
        before, self._unsent = self._unsent, unsent
        return unsent != before
