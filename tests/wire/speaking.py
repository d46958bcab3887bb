"""Bytes said to the proxy whole, or one by one.

Law: one by one means that the proxy has read each byte before the next is sent. An answer on
another connection, to a request sent after the byte, may come in the round of the worker's loop in
which the byte is still to be read; the answer to a second request cannot.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from tests.wire.corpus import HOST

_REQUEST = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()

PATIENCE = 10.0


class Speaker(Protocol):
    """One side of a dialogue with the proxy."""

    def send(self, octets: bytes) -> None: ...


Say = Callable[[Speaker, bytes], None]


def whole(speaker: Speaker, octets: bytes) -> None:
    """Say everything in one; the proxy may have heard enough before the end."""
    with contextlib.suppress(ConnectionError):
        speaker.send(octets)


class Pulse:
    """A connection to port 80 of a proxy with one worker, which redirects whatever is asked."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_REQUEST)
        self._answer = len(self._socket.recv(65536))

    def beat(self) -> None:
        """Return when the worker has read all that was sent to it before."""
        for _ in range(2):
            self._socket.sendall(_REQUEST)
            missing = self._answer
            while missing:
                octets = self._socket.recv(missing)
                assert octets, "the redirect's connection ended"
                missing -= len(octets)

    def bytewise(self, speaker: Speaker, octets: bytes) -> None:
        """Say byte by byte, each when the one before was read."""
        with contextlib.suppress(ConnectionError):
            for at in range(len(octets)):
                speaker.send(octets[at : at + 1])
                self.beat()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
