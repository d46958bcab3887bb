"""A response on its way to the client: its head, its body framed for this hop, its end.

Law: what is not complete has no end. The last bytes of a reply are made when the whole body has
come from the upstream, and never before.

No transport is met here: bytes of the upstream go in, bytes for the client come out, and each
piece comes out with the call that brought it.
"""

from .body import Body
from .chunked import chunk, last_chunk
from .coder import Coder, coder_of
from .coding import VOUCHING, coded_head
from .config import Limits
from .errors import UpstreamError
from .fields import FieldRules, persistent, trailer_lines
from .head import RequestHead, ResponseHead
from .hop import final_head


class Reply:
    """The final response to one request, from its head on.

    `head` is what the client gets first; `persist` whether another request may follow on its
    connection; `done` that the last bytes have been made.
    """

    __slots__ = (
        "_body",
        "_chunk_out",
        "_coder",
        "_passes",
        "_response",
        "_rules",
        "done",
        "head",
        "persist",
    )

    def __init__(
        self,
        request: RequestHead,
        response: ResponseHead,
        rules: FieldRules,
        limits: Limits,
        *,
        date: bytes,
        may_persist: bool,
    ) -> None:
        self._response, self._rules = response, rules
        self._body = body = Body.of_response(response, limits)
        self._coder: Coder | None = None
        if rules.compress:
            self._response, coding = coded_head(request, response)
            # There is nothing to code in the answer to HEAD.
            if coding is not None and not body.done:
                self._coder = coder_of(coding)
        unsized = body.chunked or body.until_close or self._coder is not None
        self._chunk_out = unsized and request.version == b"1.1"
        # Whether a chunk of the upstream's may go on as it came.
        self._passes = self._chunk_out and body.chunked and self._coder is None
        self.persist = (
            may_persist
            and (self._chunk_out or not unsized)
            and persistent(request.version, request.fields)
        )
        self.head = final_head(
            self._response,
            rules,
            date,
            chunked=self._chunk_out,
            persist=self.persist,
            version=request.version,
        )
        self.done = False

    def read(self, data: bytes) -> bytes:
        """What `data` of the upstream becomes for the client, the reply's end included.

        Raises ValueError where the body is malformed.
        """
        if self._passes and self._body.whole_chunk(data):
            return data
        return self._framed(self._body.read(data))

    def end(self) -> bytes:
        """The upstream says nothing more: the reply's end. Raises UpstreamError if it is cut."""
        if not self._body.end():
            raise UpstreamError(502, "closed")
        return self._framed(b"")

    @property
    def upstream_persists(self) -> bool:
        """Whether the upstream, now that the reply is done, takes another request."""
        body, response = self._body, self._response
        return (
            not body.until_close and not body.rest and persistent(response.version, response.fields)
        )

    def _framed(self, payload: bytes) -> bytes:
        done = self._body.done
        if self._coder is not None:
            payload = self._coder.code(payload, last=done)
        piece = chunk(payload) if payload and self._chunk_out else payload
        return piece + self._last() if done else piece

    def _last(self) -> bytes:
        self.done = True
        if not self._chunk_out:
            return b""
        if not self._body.chunked:
            return last_chunk(b"")
        dropped = self._rules.response_dropped
        if self._coder is not None:
            dropped = dropped | VOUCHING
        return last_chunk(trailer_lines(self._body.trailers, self._response.fields, dropped))
