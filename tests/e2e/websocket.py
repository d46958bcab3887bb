"""WebSocket on the wire (RFC 6455 §5.2), good and bad frames alike, and origins that answer it."""

from __future__ import annotations

import queue
import socket
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, Request

from tests.origins import PATIENCE, Listener
from tests.programs import wait_for
from tests.tls_client import PlainClient, TLSAlertError, TruncatedError

FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"\x37\xfa\x21\x3d"


class Frame(NamedTuple):
    """One frame: its first byte (FIN, reserved bits, opcode), whether masked, its payload."""

    first: int
    masked: bool
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 0x0F


def frame(first: int, payload: bytes = b"", *, key: bytes | None = KEY) -> bytes:
    """A frame in bytes; with no `key` it is unmasked, as only servers may send it."""
    size = len(payload)
    masked = 0x80 if key is not None else 0
    if size < 126:
        head = struct.pack("!BB", first, masked | size)
    elif size < 0x10000:
        head = struct.pack("!BBH", first, masked | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked | 127, size)
    return head + payload if key is None else head + key + mask(payload, key)


def mask(payload: bytes, key: bytes) -> bytes:
    """`payload` masked, or unmasked, with `key` (RFC 6455 §5.3)."""
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(stream, "little")
    return mixed.to_bytes(size, "little")


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    """A masked Close frame; without `code` its payload is only `reason`."""
    payload = reason if code is None else struct.pack("!H", code) + reason
    return frame(FIN | CLOSE, payload)


class FrameStream:
    """Frames read one after the other; at the end, `rest` is what came of an unfinished one.

    `end` is "closed" after a clean end of the stream and "broken" after any other.
    """

    def __init__(self, receive: Callable[[], bytes], early: bytes = b"") -> None:
        self._receive, self.rest = receive, bytearray(early)
        self.end: str | None = None

    def _fill(self, size: int) -> bool:
        while len(self.rest) < size and self.end is None:
            try:
                chunk = self._receive()
            except (ConnectionError, TruncatedError, TLSAlertError):
                self.end = "broken"
            else:
                self.rest += chunk
                self.end = None if chunk else "closed"
        return len(self.rest) >= size

    def next(self) -> Frame | None:
        """The next whole frame, None when the stream ended before one."""
        if not self._fill(2):
            return None
        first, second = self.rest[:2]
        extended = {126: 2, 127: 8}.get(second & 0x7F, 0)
        masked = bool(second & 0x80)
        start = 2 + extended + 4 * masked
        if not self._fill(start):
            return None
        size = int.from_bytes(self.rest[2 : 2 + extended], "big") if extended else second & 0x7F
        if not self._fill(start + size):
            return None
        payload, key = bytes(self.rest[start : start + size]), bytes(self.rest[start - 4 : start])
        del self.rest[: start + size]
        return Frame(first, masked, mask(payload, key) if masked else payload)


class Inflater:
    """Reads messages that permessage-deflate compressed, with or without context (RFC 7692)."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=-15)

    def content(self, received: Frame) -> bytes:
        """What an unfragmented message says; what is no compressed message stays as it is."""
        if not received.first & RSV1:
            return received.payload
        try:
            return self._stream.decompress(received.payload + b"\x00\x00\xff\xff")
        except zlib.error:
            return received.payload


class Handshake(NamedTuple):
    """The answer to an opening handshake: its status and its Sec-WebSocket fields."""

    status: int
    fields: dict[bytes, bytes]


def open_websocket(
    client: PlainClient, host: str, target: str = "/", *fields: str, early: bytes = b""
) -> tuple[Handshake, FrameStream]:
    """Ask for a WebSocket; `early` follows the handshake without waiting for its answer."""
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Upgrade: websocket"]
    lines += ["Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13"]  # as Firefox does
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *fields, "", ""]
    client.send("\r\n".join(lines).encode() + early)
    head, _, rest = client.recv_until(b"\r\n\r\n").partition(b"\r\n\r\n")
    status, *received = head.split(b"\r\n")
    pairs = (line.split(b":", 1) for line in received)
    named = {name.strip().lower(): value.strip() for name, value in pairs}
    kept = {name: value for name, value in named.items() if name.startswith(b"sec-websocket")}
    return Handshake(int(status.split()[1]), kept), FrameStream(client.recv, rest)


class Record(NamedTuple):
    """What an origin saw of one WebSocket: whole frames, an unfinished rest, and the end."""

    frames: list[Frame]
    rest: bytes
    end: str | None


class RawEcho(Listener):
    """Accepts every WebSocket and sends each frame back as it came, valid or not, unmasked.

    The target chooses what else it does: /farewell says goodbye after the client's half-close,
    /half closes within a frame after the first one, /reset resets the connection there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: queue.Queue[Record] = queue.Queue()

    def serve(self, connection: socket.socket) -> None:
        target, early = self._accept_websocket(connection)
        stream = FrameStream(lambda: connection.recv(65536), early)
        frames: list[Frame] = []
        try:
            while (each := stream.next()) is not None:
                frames.append(each)
                if target in {"/half", "/reset"}:
                    self._leave(connection, reset=target == "/reset")
                    return
                connection.sendall(frame(each.first, each.payload, key=None))
            if target == "/farewell":
                connection.sendall(frame(FIN | TEXT, b"farewell", key=None))
        finally:
            self.records.put(Record(frames, bytes(stream.rest), stream.end))

    def _accept_websocket(self, connection: socket.socket) -> tuple[str, bytes]:
        received = bytearray()
        while b"\r\n\r\n" not in received and (chunk := connection.recv(65536)):
            received += chunk
        head, mark, early = bytes(received).partition(b"\r\n\r\n")
        websocket = WSConnection(ConnectionType.SERVER)
        websocket.receive_data(head + mark)
        request = next(iter(websocket.events()))
        assert isinstance(request, Request)
        connection.sendall(websocket.send(AcceptConnection()))
        return request.target, early

    def _leave(self, connection: socket.socket, *, reset: bool) -> None:
        connection.sendall(b"\x82\x7e\x01\x00half a frame")
        if reset:
            wait_for(lambda: self._acknowledged(connection), what="the half frame's arrival")
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    @staticmethod
    def _acknowledged(connection: socket.socket) -> bool:
        """A reset discards what is still on its way (tcpi_unacked in Linux's struct tcp_info)."""
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        unacknowledged: int = struct.unpack_from("I", state, 24)[0]
        return unacknowledged == 0

    def record(self) -> Record:
        """The record of the WebSocket that ended next, waited for."""
        return self.records.get(timeout=PATIENCE)
