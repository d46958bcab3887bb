"""An origin that answers each request as its target says: well, or with a fault.

`/TOKEN/NAME` asks for the answer NAME, whose content is made of TOKEN and nothing else, so that who
gets a byte of it can tell whose it is. Names are those of ANSWERS.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from tests.message_stream import Stream, StreamEndedError
from tests.wire.corpus import cases


class Then(enum.Enum):
    """What the origin does when it has answered."""

    STAY = enum.auto()
    CLOSE = enum.auto()
    RESET = enum.auto()


class Answer(NamedTuple):
    """The octets that answer a token, in one write, and what comes then."""

    octets: Callable[[bytes], bytes]
    then: Then = Then.STAY


def content(token: bytes) -> bytes:
    """The content that belongs to a token, of a length that depends on it."""
    return token * (1 + int(token[-2:], 16))


def _head(token: bytes, *fields: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, b"X-Token: " + token, *fields, b"", b""])


def _sized(token: bytes) -> bytes:
    whole = content(token)
    return _head(token, b"Content-Length: %d" % len(whole)) + whole


def _first_chunk(token: bytes) -> bytes:
    whole = content(token)
    return _head(token, b"Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(whole), whole)


GOOD = {
    "length": Answer(_sized),
    "chunks": Answer(lambda token: _first_chunk(token) + b"0\r\n\r\n"),
    "until-close": Answer(lambda token: _head(token) + content(token), Then.CLOSE),
    "interim": Answer(lambda token: _head(token, status=b"103 Early Hints") + _sized(token)),
}
FAULTS = {
    "second-response": Answer(lambda token: _sized(token) + _sized(token)),
    "bytes-behind": Answer(lambda token: _sized(token) + token),
    "chunks-behind": Answer(lambda token: _first_chunk(token) + b"0\r\n\r\n" + token),
    "204-with-content": Answer(lambda token: _head(token, status=b"204 No Content") + token),
    "304-with-content": Answer(lambda token: _head(token, status=b"304 Not Modified") + token),
    "cut-length": Answer(lambda token: _sized(token)[:-1], Then.CLOSE),
    "cut-chunks": Answer(_first_chunk, Then.CLOSE),
    "reset-length": Answer(lambda token: _sized(token)[:-1], Then.RESET),
    "reset-chunks": Answer(_first_chunk, Then.RESET),
    "reset-without-length": Answer(lambda token: _head(token) + token, Then.RESET),
    "malformed-chunk": Answer(lambda token: _first_chunk(token) + token + b"\r\n"),
    "malformed-head": Answer(lambda token: token + b"\r\n\r\n"),
    "two-lengths": Answer(lambda token: _head(token, b"Content-Length: 1", b"Content-Length: 2")),
    "interim-only": Answer(lambda token: _head(token, status=b"103 Hints"), Then.CLOSE),
    "no-answer": Answer(lambda token: b"", Then.CLOSE),
    "reset-at-once": Answer(lambda token: b"", Then.RESET),
}
# A malformed body says nothing to HEAD, which has none.
CORPUS = {
    case.name: Answer(
        lambda _, octets=case.octets: octets,  # type: ignore[misc]
        Then.CLOSE if case.sender_closes else Then.STAY,
    )
    for case in cases(valid=False, response=True)
    if b"HTTP/1.0" not in case.request and b"Upgrade" not in case.request
}
ANSWERS = {**GOOD, **FAULTS, **CORPUS}


class FaultyOrigin:
    """Listens on loopback; a thread for each connection."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.answered = 0
        self.reused = 0
        self._connections = set[socket.socket]()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.add(connection)
            serving = threading.Thread(target=self._serve, args=[connection])
            self._threads.append(serving)
            serving.start()

    def _serve(self, connection: socket.socket) -> None:
        stream = Stream(lambda: connection.recv(65536))
        with contextlib.suppress(OSError, StreamEndedError), connection:
            for before in range(1_000_000):
                head = stream.head()
                stream.rest_of(head)
                _, token, name = head.line.split(b" ")[1].split(b"/")
                answer = ANSWERS[name.decode()]
                connection.sendall(answer.octets(token))
                self.answered += 1
                self.reused += before > 0
                if answer.then is Then.RESET:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                if answer.then is not Then.STAY:
                    break
        self._connections.discard(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
