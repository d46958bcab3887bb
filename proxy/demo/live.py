"""The live messages of the demo's page: one simulated rate, told to every viewer by WebSocket.

JSON text messages (RFC 6455 by wsproto). The first one, `hello`, holds the last minute and what
this backend saw of the request, so the page shows what the proxy adds; then five samples a
second. A ping now and then measures the round trip. A viewer too slow to read is left out of
samples until it has caught up: the demo's memory stays as it is.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from itertools import count, islice
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

from .http import READ_SIZE, TEXT, Answer, Request, Streams

EVERY = 0.2  # seconds between two samples
REMEMBERED = 300  # samples, a minute: the width of the chart
SAMPLES_PER_PING = 25
MOST_UNSENT = 256 * 1024  # bytes waiting for a viewer who does not read
SHOWN_FIELDS = (
    "host",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-request-id",
    "via",
)


class Viewer:
    """One page's WebSocket, from the accepted handshake on."""

    def __init__(self, request: Request, streams: Streams) -> None:
        self._reader, self._writer = streams
        self._websocket = handshake(request)
        compression = PerMessageDeflate()
        self._send(AcceptConnection(extensions=[compression]))
        self.compressed = bool(compression.enabled())
        """Whether permessage-deflate (RFC 7692) was agreed on."""
        self.round_trip: float | None = None
        """Milliseconds, as the last ping measured them."""

    async def listen(self, early: bytes) -> None:
        """Answers pings and closes, and takes note of pongs, until the connection ends."""
        received = early or await self._reader.read(READ_SIZE)
        while received and self._is_open:
            try:
                self._websocket.receive_data(received)
                for event in self._websocket.events():
                    self._answer(event)
            except RemoteProtocolError as error:
                self.close(getattr(error.event_hint, "code", CloseReason.PROTOCOL_ERROR))
            await self._writer.drain()
            received = await self._reader.read(READ_SIZE) if self._is_open else b""

    def tell(self, message: Mapping[str, object]) -> None:
        """Sends a message, unless this viewer has fallen too far behind."""
        if self._is_open and self._writer.transport.get_write_buffer_size() < MOST_UNSENT:
            self._send(TextMessage(json.dumps(message, separators=(",", ":"))))

    def ping(self) -> None:
        """Asks for a pong that carries this moment back."""
        if self._is_open:
            self._send(Ping(payload=repr(time.perf_counter()).encode()))

    def close(self, code: int) -> None:
        """Sends a Close; nothing more goes out after it."""
        if self._is_open:
            self._send(CloseConnection(code))

    @property
    def _is_open(self) -> bool:
        return self._websocket.state is ConnectionState.OPEN

    def _answer(self, event: Event) -> None:
        if isinstance(event, Ping | CloseConnection):
            self._send(event.response())
        elif isinstance(event, Pong):
            with suppress(ValueError):  # RFC 6455 §5.5.3: a pong may come unasked
                self.round_trip = (time.perf_counter() - float(bytes(event.payload))) * 1000

    def _send(self, event: Event) -> None:
        self._writer.write(self._websocket.send(event))


class Live:
    """All viewers and the rate they watch; one for all pages of the demo."""

    path = "/live"

    def __init__(self, chance: random.Random | None = None) -> None:
        self._viewers: set[Viewer] = set()
        self._rates = announces(chance or random.Random())
        self._history = deque(islice(self._rates, REMEMBERED), maxlen=REMEMBERED)

    def refuse(self, request: Request) -> Answer | None:
        """403 for another site's page, 400 or 426 for what is no handshake (RFC 6455 §4.2.2)."""
        if not accepts_origin(request):
            return Answer(b"origin not allowed\n", TEXT, HTTPStatus.FORBIDDEN)
        try:
            handshake(request)
        except RemoteProtocolError as error:
            hint = error.event_hint
            if isinstance(hint, RejectConnection) and hint.status_code == 426:
                fields = ((b"Sec-WebSocket-Version", b"13"),)
                return Answer(b"version 13 only\n", TEXT, HTTPStatus.UPGRADE_REQUIRED, fields)
            return Answer(f"{error}\n".encode(), TEXT, HTTPStatus.BAD_REQUEST)
        return None

    async def converse(self, request: Request, early: bytes, streams: Streams) -> None:
        """Shows one viewer the last minute, then each sample, until either side ends it."""
        viewer = Viewer(request, streams)
        self._viewers.add(viewer)
        try:
            viewer.tell(self._hello(request, viewer))
            viewer.ping()
            await viewer.listen(early)
        finally:
            self._viewers.discard(viewer)

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Samples are taken and told inside; at the end every viewer gets a Close 1001."""
        heart = asyncio.ensure_future(self._beat())
        try:
            yield
        finally:
            heart.cancel()
            for viewer in self._viewers:
                viewer.close(CloseReason.GOING_AWAY)

    async def _beat(self) -> None:
        for number in count(1):
            await asyncio.sleep(EVERY)
            self._history.append(next(self._rates))
            for viewer in list(self._viewers):
                viewer.tell(self._sample(viewer))
                if number % SAMPLES_PER_PING == 0:
                    viewer.ping()

    def _hello(self, request: Request, viewer: Viewer) -> dict[str, object]:
        return {
            "type": "hello",
            "every": EVERY,
            "history": list(self._history),
            "compressed": viewer.compressed,
            "seen": {name: _text(request.field(name.encode())) for name in SHOWN_FIELDS},
        }

    def _sample(self, viewer: Viewer) -> dict[str, object]:
        return {
            "type": "sample",
            "announces": self._history[-1],
            "viewers": len(self._viewers),
            "time": round(time.time() * 1000),
            "round_trip": viewer.round_trip and round(viewer.round_trip, 2),
        }


def handshake(request: Request) -> WSConnection:
    """A server's connection ready to accept this request. Raises RemoteProtocolError."""
    websocket = WSConnection(ConnectionType.SERVER)
    websocket.initiate_upgrade_connection(list(request.head.headers), request.head.target)
    return websocket


def accepts_origin(request: Request) -> bool:
    """Grafana's rule: no Origin (not a browser), or one whose host and port are Host's."""
    origin, host = request.field(b"origin"), request.field(b"host") or b""
    return origin is None or urlsplit(origin.lower()).netloc == host.lower()


def announces(chance: random.Random) -> Iterator[float]:
    """Announces per second of a made-up tracker: two slow waves and a wandering that comes home."""
    wandering, drift = 0.0, 0.0
    for number in count():
        moment = number * EVERY
        drift = 0.85 * drift + chance.gauss(0, 1.4)
        wandering = 0.97 * wandering + drift
        waves = 95 * math.sin(moment / 11) + 38 * math.sin(moment / 3.7)
        yield round(max(0.0, 430 + waves + wandering), 1)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
