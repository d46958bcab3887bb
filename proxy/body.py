"""A body as it comes in, however it is framed (RFC 9112 §6.3). Pure.

Law: a body that breaks off is never `done`.
"""

from typing import TypeVar

from .chunked import ChunkedReader
from .config import Limits
from .errors import ClientError
from .head import Fields, RequestHead, ResponseHead

_UNBOUNDED = 1 << 62
Octets = TypeVar("Octets", bytes, memoryview, bytes | memoryview)


class Body:
    """Tells what of a stream of bytes is body. `done` when it is complete.

    `rest` is what came behind its end in the last read. `until_close`: it ends with the connection
    and `end` must be called then. `chunked`: it comes in chunks, so it may have `trailers`.
    """

    __slots__ = ("_chunks", "_limit", "_remaining", "done", "rest", "until_close")

    def __init__(self, length: int | None, chunks: ChunkedReader | None, limit: int | None) -> None:
        self._chunks = chunks
        self._remaining = length or 0
        self._limit = _UNBOUNDED if limit is None else limit
        self.until_close = length is None and chunks is None
        self.done = length == 0 and chunks is None
        self.rest = b""

    @classmethod
    def of_request(cls, request: RequestHead, limits: Limits) -> "Body":
        """The body that follows a request's head. Raises ClientError 413 if it says too much."""
        framing, limit = request.framing, limits.request_body
        if limit is not None and (framing.length or 0) > limit:
            raise ClientError(413, "the request body is too large")
        if not framing.chunked:
            return cls(framing.length, None, None)
        return cls(None, ChunkedReader(request=True, trailers_limit=limits.request_head), limit)

    @classmethod
    def of_response(cls, response: ResponseHead, limits: Limits) -> "Body":
        """The body that follows a response's head."""
        if not response.framing.chunked:
            return cls(response.framing.length, None, None)
        return cls(None, ChunkedReader(request=False, trailers_limit=limits.response_head), None)

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self._chunks is not None

    @property
    def trailers(self) -> Fields:
        """The trailer fields of a body in chunks that is done."""
        assert self._chunks is not None
        return self._chunks.trailers

    def read(self, data: bytes) -> bytes:
        """The body's bytes among `data`.

        Raises ValueError where the chunks are malformed, ClientError 413 over the limit.
        """
        if self._chunks is not None:
            return self._read_chunks(self._chunks, data)
        return self.read_plain(data)

    def read_plain(self, data: Octets) -> Octets:
        """The same where the body does not come in chunks; nothing is copied."""
        if self.until_close:
            return data
        size = len(data)
        if size < self._remaining:
            self._remaining -= size
            return data
        at, self._remaining = self._remaining, 0
        self.done = True
        self.rest = bytes(data[at:])
        return data if at == size else data[:at]

    def whole_chunk(self, data: bytes) -> bool:
        """Whether `data` of an unbounded body is one chunk as `chunked.chunk` makes it; if so, it
        has been read."""
        return self._chunks is not None and self._chunks.whole(data)

    def end(self) -> bool:
        """The connection has ended: whether the body is complete."""
        self.done = self.done or self.until_close
        return self.done

    def _read_chunks(self, chunks: ChunkedReader, data: bytes) -> bytes:
        payload = chunks.read(data)
        self._limit -= len(payload)
        if self._limit < 0:
            raise ClientError(413, "the request body is too large")
        if chunks.done:
            self.done = True
            self.rest = chunks.rest
        return payload
