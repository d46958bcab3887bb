"""`python -m bench.origin PORT`: what is streamed from and to: events, uploads, WebSockets.

Law: it costs less than what is measured, so it reads no more of a request than its first line.
"""

import asyncio
import base64
import hashlib
import re
import sys
from typing import cast

import uvloop

FRAME = 65536
EVENT = b"data: 0123456789012345678901234567890123456789012345678901234567890123456789\n\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
TICK = 0.005  # seconds between the events of one stream
STREAMED = (b"\x82\x7f" + FRAME.to_bytes(8, "big") + bytes(FRAME)) * 4
SMALL = 64
ECHOED = b"\x82\xc0\0\0\0\0" + b"e" * SMALL
"""A client's frame of 64 bytes, masked with zeros: the answer is the same without its mask."""
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Origin(asyncio.BufferedProtocol):
    """One connection from the proxy."""

    room = memoryview(bytearray(1 << 18))  # shared: each read is dealt with before the next

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.head = b""
        self.missing = 0
        self.echoing = self.streaming = self.closed = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclasses of asyncio's
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.room

    def buffer_updated(self, nbytes: int) -> None:
        if self.echoing:
            self._echo(bytes(self.room[:nbytes]))
        elif self.missing:
            self._swallow(nbytes)
        elif not self.streaming:
            self._begin(bytes(self.room[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def pause_writing(self) -> None:
        self.streaming = False

    def resume_writing(self) -> None:
        self.streaming = True
        self._stream()

    def _begin(self, data: bytes) -> None:
        self.head += data
        end = self.head.find(b"\r\n\r\n")
        if end < 0:
            return
        head, rest, self.head = self.head[:end], self.head[end + 4 :], b""
        if head.startswith(b"POST"):
            self.missing = int(_field(head, b"content-length"))
            self._swallow(len(rest))
        elif b" /events" in head:
            self.transport.write(_EVENTS)
            self._tell()
        else:
            self._upgrade(head)

    def _swallow(self, size: int) -> None:
        self.missing -= size
        if not self.missing:
            self.transport.write(_ANSWER)

    def _tell(self) -> None:
        if not self.closed:
            self.transport.write(CHUNK)
            self.loop.call_later(TICK, self._tell)

    def _upgrade(self, head: bytes) -> None:
        key = _field(head, b"sec-websocket-key") + _MAGIC
        accept = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        self.echoing = b" /echo" in head
        if b" /stream" in head:
            self.streaming = True
            self._stream()

    def _echo(self, data: bytes) -> None:
        if len(data) != len(ECHOED):
            raise ValueError(
                f"a frame of {len(data)} bytes: its client has one under way at a time"
            )
        self.transport.write(b"\x82\x40" + data[6:])

    def _stream(self) -> None:
        if self.streaming and not self.closed:
            self.transport.write(STREAMED)
            self.loop.call_soon(self._stream)  # whether to pause is told between two turns


def _field(head: bytes, name: bytes) -> bytes:
    found = re.search(rb"(?mi)^%b: *(\S+)" % name, head)
    return found[1] if found else b""


async def main() -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Origin(loop), "127.0.0.1", int(sys.argv[1]), backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
