"""The pure rooms in the order in which a connection asks them: bytes in, bytes out, no transport.

Law: nothing is decided here. What a request or response becomes is what `proxy` makes of it; here
is only the glue that Downstream and Exchange are, without connections, time and routes.
"""

from __future__ import annotations

from proxy.body import Body
from proxy.chunked import chunk, last_chunk
from proxy.config import Limits, Route
from proxy.errors import ClientError, UpstreamError
from proxy.fields import (
    FieldRules,
    is_last_hop,
    one_hop_less,
    persistent,
    trailer_lines,
    upgrade_asked,
    upgrade_granted,
)
from proxy.head import HeadBuffer, RequestHead, ResponseHead, read_request, read_response
from proxy.hop import Sender, interim_head, request_after_host, request_line, switching_head
from proxy.reply import Reply
from tests.wire.corpus import LIMITS

BOUNDS = Limits.model_validate(LIMITS)
RULES = FieldRules.of(Route.model_validate({"to": "http://127.0.0.1:1"}))
SENDER = Sender("127.0.0.1", b"7f", trusted=False)
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


class Requests:
    """The requests of one connection: what an origin hears of them, and the `refusal` of the last.

    `whole` of them were complete. A request that the proxy would answer itself is sent as well:
    only routes could tell.
    """

    def __init__(self) -> None:
        self.heads = HeadBuffer(BOUNDS.request_head, skip_blank=True)
        self.sent = bytearray()
        self.whole = 0
        self.refusal: int | None = None
        self.ended = False
        self._request: RequestHead | None = None
        self._body: Body | None = None

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        try:
            while not self.ended and self._receive(data):
                data = b""
        except ClientError as error:
            self.refusal, self.ended = error.status, True
        except ValueError as error:
            self.refusal, self.ended = {"line": 414, "head": 431}.get(str(error), 400), True

    def _receive(self, data: bytes) -> bool:
        """Take data as far as the end of one head or body; whether there is more to take."""
        if self._body is None:
            head = self.heads.take(data)
            if head is None:
                return False
            self._begin(read_request(head))
            data, self.heads.data = self.heads.data, b""
        assert self._body is not None
        assert self._request is not None
        if not self._body.done:
            piece = self._body.read(data)
            self.sent += chunk(piece) if piece and self._body.chunked else piece
            data = self._body.rest
        if self._body.done:
            self._end(self._request, self._body)
            self.heads.data = data
        return bool(self.heads.data)

    def _begin(self, request: RequestHead) -> None:
        self._request = request = request if is_last_hop(request) else one_hop_less(request)
        self._body = Body.of_request(request, BOUNDS)
        upgrade = upgrade_asked(request.version, request.fields)
        self.sent += request_line(request, request.host)
        self.sent += request_after_host(request, RULES, SENDER, upgrade)

    def _end(self, request: RequestHead, body: Body) -> None:
        if body.chunked:
            self.sent += last_chunk(trailer_lines(body.trailers, request.fields, frozenset()))
        self.whole += 1
        self.ended = not persistent(request.version, request.fields)
        self._body = None


class Response:
    """The response to `request`: what the client hears of it, and how it ends.

    `refused` before a final head was sent on, `broken` after it, `switched` to no HTTP.
    """

    def __init__(self, request: bytes) -> None:
        self.heads = HeadBuffer(BOUNDS.response_head)
        self.request = read_request(request)
        self.sent = b""
        self.refused = self.broken = self.switched = False
        self.reply: Reply | None = None

    def receive(self, data: bytes) -> None:
        """Bytes from the origin."""
        if self.switched:
            self.sent += data
        elif not (self.refused or self.broken or (self.reply and self.reply.done)):
            self._guarded(data)

    def end(self) -> None:
        """The origin says nothing more."""
        if self.reply is None:
            self.refused = not self.switched
        elif not self.reply.done:
            try:
                self.sent += self.reply.end()
            except UpstreamError:
                self.broken = True

    def _guarded(self, data: bytes) -> None:
        try:
            if self.reply is None:
                self._heads(data)
            else:
                self.sent += self.reply.read(data)
        except (UpstreamError, ValueError):
            self.refused = self.reply is None
            self.broken = not self.refused

    def _heads(self, data: bytes) -> None:
        while (head := self.heads.take(data)) is not None:
            response = read_response(head, bodiless=self.request.method == b"HEAD")
            data, self.heads.data = self.heads.data, b""
            if response.status >= 200:
                self._begin(response, data)
                return
            if response.status == 101:
                self._switch(response, data)
                return
            self.heads.limit -= len(head)
            if self.request.version == b"1.1":
                self.sent += interim_head(response)

    def _begin(self, response: ResponseHead, data: bytes) -> None:
        reply = Reply(self.request, response, RULES, BOUNDS, date=DATE, may_persist=True)
        self.sent += reply.head + reply.read(data)
        self.reply = reply

    def _switch(self, response: ResponseHead, early: bytes) -> None:
        asked = upgrade_asked(self.request.version, self.request.fields)
        if not upgrade_granted(asked, response.fields):
            raise UpstreamError(502, "upgrade_not_asked")
        self.switched = True
        self.sent += switching_head(response) + early
