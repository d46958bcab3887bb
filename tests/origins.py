"""Origins inside the test's own process, and a tap that records what passes before a real one."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

PATIENCE = 60


def answer_ok(connection: socket.socket) -> None:
    """Answer each read with `ok`: for a `Listener` whose requests are short and come one by one."""
    while connection.recv(65536):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Listener:
    """Serves each TCP connection in a thread of its own, from `with` to its end."""

    def __init__(self, serve: Callable[[socket.socket], None] | None = None, port: int = 0) -> None:
        self._serve, self._threads = serve, list[threading.Thread]()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._socket.getsockname()[1]

    def serve(self, connection: socket.socket) -> None:
        """What is done with one connection; it is closed afterwards."""
        assert self._serve is not None
        self._serve(connection)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            self._begin(self._one, connection)

    def _one(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        # a peer that leaves early is a test's business, not this thread's
        with connection, contextlib.suppress(OSError):
            self.serve(connection)
        with self._lock:
            self._open.discard(connection)

    def _begin(self, target: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)


class Passage:
    """What passed on one connection through a tap."""

    def __init__(self) -> None:
        self.requested = bytearray()
        self.answered = bytearray()


class Tap(Listener):
    """A relay before a real origin that keeps every byte of both directions."""

    def __init__(self, origin: int) -> None:
        super().__init__()
        self.origin, self.passages = origin, list[Passage]()

    def serve(self, connection: socket.socket) -> None:
        passage = Passage()
        self.passages.append(passage)
        with socket.create_connection(("127.0.0.1", self.origin), PATIENCE) as onward:
            back = self._begin(_carry, onward, connection, passage.answered)
            _carry(connection, onward, passage.requested)
            back.join(PATIENCE)

    def requested(self) -> bytes:
        """Everything that came for the origin, connection after connection."""
        return b"".join(bytes(passage.requested) for passage in self.passages)


def _carry(source: socket.socket, sink: socket.socket, record: bytearray) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            record += chunk
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Resolver(Listener):
    """A forward proxy whose every CONNECT leads to one loopback port, whatever name was asked.

    For programs that cannot be told where a host name leads: the name stays in their URL,
    their TLS and their Host field.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self.onward = port

    def serve(self, connection: socket.socket) -> None:
        head = bytearray()
        while not head.endswith(b"\r\n\r\n") and (octet := connection.recv(1)):
            head += octet
        with socket.create_connection(("127.0.0.1", self.onward), PATIENCE) as onward:
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = self._begin(_carry, onward, connection, bytearray())
            _carry(connection, onward, bytearray())
            back.join(PATIENCE)
