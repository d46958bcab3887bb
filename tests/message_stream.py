"""HTTP/1.1 read from a stream as plainly as it stands there: no judgement, nothing repaired.

What a test wants to see is what was sent: names in their spelling, lines in their order, where
one message ends and the next begins, and how the stream itself ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.tls_client import TLSAlertError, TruncatedError

FieldLines = list[tuple[bytes, bytes]]


class Head(NamedTuple):
    """A first line and its field lines, names as sent, values without blanks around them."""

    line: bytes
    fields: FieldLines

    @classmethod
    def of(cls, block: bytes) -> Head:
        """The head that `block` is, its empty line left out."""
        line, *rest = block.split(b"\r\n")
        return cls(line, [_pair(each) for each in rest])

    def values(self, name: str) -> list[bytes]:
        """The values of all lines of that name, however it is spelled, in their order."""
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]

    def value(self, name: str) -> bytes | None:
        """The value of the only line of that name, None where there is none."""
        values = self.values(name)
        assert len(values) <= 1, values
        return values[0] if values else None

    @property
    def names(self) -> list[str]:
        """The names in lower case, line by line."""
        return [name.decode().lower() for name, _ in self.fields]

    @property
    def status(self) -> int:
        """The status code of a response's head."""
        return int(self.line.split(b" ")[1])


class Message(NamedTuple):
    """A head, the content its framing says, and the trailer fields."""

    head: Head
    content: bytes
    trailers: FieldLines

    @property
    def status(self) -> int:
        return self.head.status


class Ending(NamedTuple):
    """The last bytes of a stream, and whether its end was announced as one."""

    rest: bytes
    clean: bool


class StreamEndedError(Exception):
    """The stream ended before what was waited for."""

    def __init__(self, rest: bytearray) -> None:
        super().__init__(f"{len(rest)} bytes of it had come, the last: {bytes(rest[-100:])!r}")


class Stream:
    """Messages and bytes read one after the other; `receive` gives the next bytes, b"" at the end.

    An end with a reset, an alert, or without TLS's close_notify is not `clean`.
    """

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self.receive = receive
        self.ahead = bytearray()
        self.clean: bool | None = None

    def _more(self) -> bool:
        if self.clean is not None:
            return False
        try:
            octets = self.receive()
        except TimeoutError:
            raise
        except (ConnectionError, TruncatedError, TLSAlertError):
            self.clean = False
            return False
        self.ahead += octets
        self.clean = None if octets else True
        return bool(octets)

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        while mark not in self.ahead:
            if not self._more():
                raise StreamEndedError(self.ahead)
        return self.exactly(self.ahead.index(mark) + len(mark))

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self.ahead) < size:
            if not self._more():
                raise StreamEndedError(self.ahead)
        taken = bytes(self.ahead[:size])
        del self.ahead[:size]
        return taken

    def ending(self) -> Ending:
        """Everything up to the end, and how it came."""
        while self._more():
            pass
        taken, self.ahead = bytes(self.ahead), bytearray()
        return Ending(taken, clean=bool(self.clean))

    def head(self) -> Head:
        """The next head."""
        return Head.of(self.until(b"\r\n\r\n").removesuffix(b"\r\n\r\n"))

    def chunk(self) -> bytes:
        """The content of the next chunk; b"" is the last one, trailers follow it."""
        size = int(self.until(b"\r\n"), 16)
        content = self.exactly(size)
        if size:
            assert self.exactly(2) == b"\r\n"
        return content

    def chunks(self) -> tuple[bytes, FieldLines]:
        """The content of all chunks up to the last one, and the trailers behind it."""
        content = bytearray()
        while chunk := self.chunk():
            content += chunk
        return bytes(content), self.trailers()

    def trailers(self) -> FieldLines:
        """The lines between the last chunk and the end of the message."""
        lines: FieldLines = []
        while line := self.until(b"\r\n").removesuffix(b"\r\n"):
            lines.append(_pair(line))
        return lines

    def message(self, *, bodiless: bool = False) -> Message:
        """The next message; without any framing a response lasts until the end of the stream."""
        head = self.head()
        return Message(head, *self.rest_of(head, bodiless=bodiless))

    def rest_of(self, head: Head, *, bodiless: bool = False) -> tuple[bytes, FieldLines]:
        """The content and the trailers of the message whose head has been read."""
        if bodiless:
            return b"", []
        if head.value("transfer-encoding") is not None:
            assert head.value("transfer-encoding") == b"chunked"
            return self.chunks()
        if (length := head.value("content-length")) is not None:
            return self.exactly(int(length)), []
        if not head.line.startswith(b"HTTP/"):
            return b"", []
        rest, clean = self.ending()
        if not clean:
            raise StreamEndedError(bytearray(rest))
        return rest, []


def _pair(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    assert colon, line
    return name, value.strip(b" \t")
