"""An origin without a will: each of its steps is a line of the test that also plays the client.

Both ends in one thread make a test a dialogue whose order is certain: the kernel completes a
connection before it is accepted, and holds what neither end has read yet.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.message_stream import Stream
from tests.programs import wait_for

PATIENCE = 10.0
# How long the proxy may take to close a connection whose origin has hung up.
LETTING_GO = 5.0

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Call(Stream):
    """One connection that the proxy has opened to the origin."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(lambda: connection.recv(65536))
        self.socket = connection

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def half_close(self) -> None:
        """Say nothing more; hear the rest."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the connection the usual way."""
        self.socket.close()

    def reset(self) -> None:
        """End the connection with a TCP reset, after all that was sent has arrived.

        A reset takes with it what is still on its way.
        """
        wait_for(self._arrived, PATIENCE, "the arrival of what was sent")
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def silent(self) -> bool:
        """Whether nothing has come that was not read, not even an end."""
        return not self.ahead and not select.select([self.socket], [], [], 0)[0]

    def hang_up(self) -> None:
        """Close this side and wait for the other to follow."""
        if self.socket.fileno() < 0:
            return
        with contextlib.suppress(OSError), self.socket:
            self.socket.settimeout(LETTING_GO)
            self.socket.shutdown(socket.SHUT_WR)
            try:
                self.ending()
            except TimeoutError:
                raise AssertionError("the proxy holds on to a connection that ended") from None

    def _arrived(self) -> bool:
        if self.socket.family == socket.AF_UNIX:
            return True
        state = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        unacknowledged: int = struct.unpack_from("I", state, 24)[0]
        return not unacknowledged


class ScriptedOrigin:
    """Listens; the test accepts each connection itself.

    `wrap` puts a layer (TLS) over a connection as it is accepted. It listens on `address`, or on
    the path `unix`.
    """

    def __init__(
        self,
        *,
        unix: Path | None = None,
        address: tuple[str, int] = ("127.0.0.1", 0),
        wrap: Callable[[socket.socket], socket.socket] = lambda connection: connection,
    ) -> None:
        if unix is None:
            self._socket = socket.create_server(address, backlog=128)
            self.port: int = self._socket.getsockname()[1]
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(str(unix))
            self._socket.listen(128)
        self._socket.settimeout(PATIENCE)
        self._wrap, self._calls = wrap, list[Call]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def accept(self) -> Call:
        """The proxy's next connection, waited for."""
        connection, _ = self._socket.accept()
        connection.settimeout(PATIENCE)
        call = Call(self._wrap(connection))
        self._calls.append(call)
        return call

    def heard(self) -> Call:
        """The connection on which something comes next: a new one, or one that is open."""
        calls = {call.socket: call for call in self._calls if call.socket.fileno() >= 0}
        readable = select.select([self._socket, *calls], [], [], PATIENCE)[0]
        assert readable, "nothing came"
        return self.accept() if self._socket in readable else calls[readable[0]]

    @property
    def called(self) -> bool:
        """Whether a connection waits to be accepted."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def hang_up(self) -> None:
        """End every connection, so that none is kept for a later test."""
        while self.called:
            with contextlib.suppress(OSError):
                self.accept()
        calls, self._calls = self._calls, []
        for call in calls:
            call.hang_up()

    def close(self) -> None:
        """Listen no more, and end every connection."""
        self._socket.close()
        calls, self._calls = self._calls, []
        for call in calls:
            call.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def elapsed(action: Callable[[], object]) -> float:
    """Seconds that `action` takes."""
    begin = time.monotonic()
    action()
    return time.monotonic() - begin
