"""The chunked transfer coding, strictly read and plainly written (RFC 9112 §7.1).

Law: no line of a client's or an upstream's is passed on. Data is taken out and framed anew, so
nobody sees another's chunk sizes, extensions or line ends; but a chunk that came alone and would be
written as it stands need not be written.

The scanner is our own, not h11's: h11 0.16 takes a bare CR within an extension and a bare LF in
trailers, and two readers that disagree on where a body ends are how requests are smuggled.
"""

import re

from .head import HOPELESS, Fields, read_trailers

# 15 hexadecimal digits stay below 2**63.
_SIZE_DIGITS = rb"([0-9A-Fa-f]{1,15})"
_QUOTED = rb'"(?:[\t\x20!\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
# Anything, but a quote that is opened must be closed: no reader shall look for its end elsewhere.
_EXTENSIONS = rb";(?:[\t\x20!\x23-\x7e\x80-\xff]|" + _QUOTED + rb")*+"
# Only space and tab may stand before an extension.
_REQUEST_LINE = re.compile(_SIZE_DIGITS + rb"(?:[\t ]*" + _EXTENSIONS + rb")?\r\n")
# Some origins pad the size with blanks; h11, Go and nginx accept it, and the size stays certain.
_RESPONSE_LINE = re.compile(_SIZE_DIGITS + rb"[\t ]*(?:" + _EXTENSIONS + rb")?\r\n")
# As `chunk` writes it.
_PLAIN_LINE = re.compile(rb"([1-9a-f][0-9a-f]{0,7})\r\n")
# Of one chunk-size line with its extensions; Go allows 4 KiB, nginx and HAProxy a buffer.
LINE_LIMIT = 4096
# Of all extensions of one body: nobody uses them, and each byte of them is work for nothing.
EXTENSIONS_LIMIT = 16 * 1024

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)
_NO_FIELDS = Fields((), ())


class ChunkedReader:
    """Takes a chunked body apart as it comes, in whatever pieces.

    `done` once the body is complete: then `trailers` holds its fields and `rest` what came behind.
    """

    __slots__ = (
        "_buffer",
        "_line",
        "_overhead",
        "_remaining",
        "_seen",
        "_state",
        "_trailers_limit",
        "done",
        "rest",
        "trailers",
    )

    def __init__(self, *, request: bool, trailers_limit: int) -> None:
        self._line = _REQUEST_LINE if request else _RESPONSE_LINE
        self._trailers_limit = trailers_limit
        self._buffer = b""
        self._state = _SIZE
        self._remaining = 0
        self._overhead = 0
        self._seen = 0
        self.done = False
        self.trailers = _NO_FIELDS
        self.rest = b""

    def read(self, data: bytes) -> bytes:
        """Return the body's bytes among `data`. Raises ValueError if the coding is malformed."""
        data = self._buffer + data if self._buffer else data
        parts: list[bytes] = []
        at = 0
        while (after := self._step(data, at, parts)) >= 0:
            at = after
        if self.done:
            self.rest, self._buffer = data[at:], b""
        else:
            self._buffer = data[at:] if at else data
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def whole(self, data: bytes) -> bool:
        """Whether `data` is one chunk, no more and no less, and as `chunk` makes it.

        If so, it has been read and can be passed on as it is.
        """
        line = _PLAIN_LINE.match(data)
        if line is None or self._state != _SIZE or self._buffer:
            return False
        return len(data) == line.end() + int(line[1], 16) + 2 and data.endswith(b"\r\n")

    def _step(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Consume one element of the coding at `at`; -1 where it is not there, or all is done."""
        if self._state == _DATA:
            return self._data(data, at, parts)
        if self._state == _SIZE:
            return self._size(data, at, parts)
        if self._state == _DATA_END:
            return self._data_end(data, at)
        return self._trailer_block(data, at) if self._state == _TRAILERS else -1

    def _size(self, data: bytes, at: int, parts: list[bytes]) -> int:
        end = data.find(b"\n", at, at + LINE_LIMIT) + 1
        if not end:
            if len(data) - at >= LINE_LIMIT:
                raise ValueError("chunk line too long")
            return -1
        match = self._line.fullmatch(data, at, end)
        if match is None:
            raise ValueError("malformed chunk line")
        self._overhead += end - match.end(1) - 2
        if self._overhead > EXTENSIONS_LIMIT:
            raise ValueError("chunk extensions too long")
        size = int(match[1], 16)
        if size and data.startswith(b"\r\n", end + size):
            # All of it is there. Chunks of a byte each would else cost three steps a byte.
            parts.append(data[end : end + size])
            return end + size + 2
        self._remaining = size
        self._state = _DATA if size else _TRAILERS
        return end

    def _data(self, data: bytes, at: int, parts: list[bytes]) -> int:
        piece = data[at : at + self._remaining]
        if not piece:
            return -1
        parts.append(piece)
        self._remaining -= len(piece)
        if not self._remaining:
            self._state = _DATA_END
        return at + len(piece)

    def _data_end(self, data: bytes, at: int) -> int:
        end = data[at : at + 2]
        if end == b"\r\n":
            self._state = _SIZE
            return at + 2
        if b"\r\n".startswith(end):
            return -1
        raise ValueError("chunk longer than its size")

    def _trailer_block(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self._state, self.done = _DONE, True
            return at + 2
        begin, limit = at + max(0, self._seen - 3), at + self._trailers_limit
        end = data.find(b"\r\n\r\n", begin, limit)
        if end < 0:
            if HOPELESS.search(data, begin, limit):
                raise ValueError("malformed trailers")
            if len(data) - at >= self._trailers_limit:
                raise ValueError("trailers too long")
            self._seen = len(data) - at
            return -1
        self.trailers = read_trailers(data[at : end + 2])
        self._state, self.done = _DONE, True
        return end + 4


def chunk(data: bytes) -> bytes:
    """One chunk that holds `data`, which must not be empty: an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailer_lines: bytes) -> bytes:
    """The end of a body, with `trailer_lines` each ended by CRLF."""
    return b"0\r\n%b\r\n" % trailer_lines
