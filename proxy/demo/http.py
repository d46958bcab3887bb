"""The demo's HTTP/1.1 server: asyncio streams and h11, no more than small backends need.

Law: it listens on loopback and unix sockets only. A backend says what the answer is; framing,
HEAD, keep-alive and the switch to WebSocket are this room's.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple, Protocol

import h11

READ_SIZE = 65536
TEXT = "text/plain; charset=utf-8"


class Place(NamedTuple):
    """Where a backend listens: a loopback host and a port, or a unix socket's path."""

    host: str
    port: int
    unix: str | None = None

    def __str__(self) -> str:
        return f"unix:{self.unix}" if self.unix else f"{self.host}:{self.port}"


class Request(NamedTuple):
    """One request; its content has been read and left alone."""

    method: str
    path: str
    query: str
    head: h11.Request
    connected: str | None
    """The address at the other end of the connection; None on a unix socket."""

    def field(self, name: bytes) -> bytes | None:
        """The last value of the field (name in lower case)."""
        values = self.all(name)
        return values[-1] if values else None

    def all(self, name: bytes) -> list[bytes]:
        """Every value of the field (name in lower case), in order."""
        return [value for key, value in self.head.headers if key == name]

    @property
    def wants_websocket(self) -> bool:
        """Whether it asks to switch to RFC 6455."""
        return (self.field(b"upgrade") or b"").lower() == b"websocket"


class Answer(NamedTuple):
    """A whole response."""

    content: bytes
    media_type: str = "application/json"
    status: HTTPStatus = HTTPStatus.OK
    fields: tuple[tuple[bytes, bytes], ...] = ()


class Streams(NamedTuple):
    """Both directions of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class WebSocket(Protocol):
    """What a backend does with connections that ask for WebSocket at its path."""

    path: str

    def refuse(self, request: Request) -> Answer | None:
        """The answer to a handshake that is not accepted; None when it is."""

    async def converse(self, request: Request, early: bytes, streams: Streams) -> None:
        """Speaks WebSocket until either side ends it; `early` came with the handshake."""


@dataclass(frozen=True)
class Backend:
    """One demo program."""

    kind: str
    answer: Callable[[Request], Answer]
    websocket: WebSocket | None = None


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach the host (RFC 6761 §6.3 for the names)."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


@asynccontextmanager
async def listening(place: Place, backend: Backend) -> AsyncIterator[asyncio.Server]:
    """Serves the backend at its place. Raises OSError when the place cannot be had."""
    conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_converse(backend, Streams(reader, writer)))
        conversations[task] = writer
        task.add_done_callback(conversations.pop)

    if place.unix:
        server = await asyncio.start_unix_server(accept, place.unix)
    elif is_loopback(place.host):
        server = await asyncio.start_server(accept, place.host, place.port)
    else:
        raise OSError(f"{place.host} is not a loopback address")
    try:
        yield server
    finally:
        server.close()
        await _end(conversations)
        await server.wait_closed()
        if place.unix:  # asyncio does this by itself from Python 3.13 on
            Path(place.unix).unlink(missing_ok=True)


async def _end(conversations: Mapping[asyncio.Task[None], asyncio.StreamWriter]) -> None:
    running = dict(conversations)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    # One that was cancelled before its first step has closed nothing.
    for writer in running.values():
        await _close(writer)


async def _converse(backend: Backend, streams: Streams) -> None:
    """Answers one connection's requests until either side ends it."""
    connection = h11.Connection(h11.SERVER)
    try:
        while request := await _read_request(connection, streams):
            answer = _answer(backend, request)
            if answer is None and backend.websocket:
                early = connection.trailing_data[0]
                await backend.websocket.converse(request, early, streams)
            if answer is None:
                break
            _send(connection, streams.writer, answer, request.method)
            await streams.writer.drain()
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                break
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        _refuse(connection, streams.writer, HTTPStatus(error.error_status_hint))
    except ConnectionError:
        pass  # the client is gone: nobody is left to be told
    finally:
        await _close(streams.writer)


async def _read_request(connection: h11.Connection, streams: Streams) -> Request | None:
    """The next request once its content has come; None when there is none any more."""
    head: h11.Request | None = None
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.EndOfMessage) and head:
            return _request(head, streams.writer)
        elif isinstance(event, h11.ConnectionClosed):
            return None
        elif event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                streams.writer.write(connection.send(go_on))
            connection.receive_data(await streams.reader.read(READ_SIZE))


def _request(head: h11.Request, writer: asyncio.StreamWriter) -> Request:
    path, _, query = head.target.decode("latin-1").partition("?")
    peer = writer.get_extra_info("peername")
    connected = peer[0] if isinstance(peer, tuple) else None
    return Request(head.method.decode(), path, query, head, connected)


def _answer(backend: Backend, request: Request) -> Answer | None:
    """The answer; None for a handshake that is accepted, which has no ordinary one."""
    websocket = backend.websocket
    if websocket and request.path == websocket.path and request.wants_websocket:
        return websocket.refuse(request)
    if request.method in ("GET", "HEAD"):
        return backend.answer(request)
    allow = ((b"Allow", b"GET, HEAD"),)
    return Answer(b"GET or HEAD only\n", TEXT, HTTPStatus.METHOD_NOT_ALLOWED, allow)


def _send(
    connection: h11.Connection, writer: asyncio.StreamWriter, answer: Answer, method: str
) -> None:
    head = h11.Response(
        status_code=answer.status,
        reason=answer.status.phrase.encode(),
        headers=[
            (b"Date", formatdate(usegmt=True).encode()),
            (b"Content-Type", answer.media_type.encode()),
            (b"Content-Length", b"%d" % len(answer.content)),
            *answer.fields,
        ],
    )
    sent = connection.send(head)
    # RFC 9110 §9.3.2: a HEAD's answer has the fields of the GET's, and no content.
    if method != "HEAD":
        sent += connection.send(h11.Data(data=answer.content))
    writer.write(sent + connection.send(h11.EndOfMessage()))


def _refuse(connection: h11.Connection, writer: asyncio.StreamWriter, status: HTTPStatus) -> None:
    if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
        close = ((b"Connection", b"close"),)
        _send(connection, writer, Answer(status.phrase.encode(), TEXT, status, close), "")


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
