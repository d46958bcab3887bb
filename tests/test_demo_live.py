"""The demo's live messages: what a viewer is told, and who may be one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.typing import Headers

from proxy.demo.backends import Programs
from proxy.demo.http import Place, listening
from tests.demo_client import PATIENCE, Ports, ask, demo_serving


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    with demo_serving() as ports:
        yield ports


class PageSocket:
    """A browser's side of /live."""

    def __init__(self, port: int, headers: Headers, *, compress: bool = False) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._websocket = WSConnection(ConnectionType.CLIENT)
        self._events = self._received()
        self.send(
            Request(
                host=f"127.0.0.1:{port}",
                target="/live",
                extra_headers=headers,
                extensions=[PerMessageDeflate()] if compress else [],
            )
        )

    def send(self, event: Event) -> None:
        self._socket.sendall(self._websocket.send(event))

    def next(self, wanted: Callable[[Event], bool]) -> Event:
        """The next event that is wanted; the others before it are dropped."""
        return next(event for event in self._events if wanted(event))

    def next_message(self, kind: str) -> dict[str, object]:
        for event in self._events:
            if isinstance(event, TextMessage):
                message: dict[str, object] = json.loads(event.data)
                if message["type"] == kind:
                    return message
            elif isinstance(event, Ping):
                self.send(event.response())
        raise AssertionError(f"the connection ended before a {kind}")

    def _received(self) -> Iterator[Event]:
        while data := self._socket.recv(65536):
            self._websocket.receive_data(data)
            yield from self._websocket.events()

    def close(self) -> None:
        self._socket.close()


def is_a(kind: type[Event]) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, kind)


@pytest.fixture
def page(ports: Ports) -> Iterator[PageSocket]:
    origin = f"http://127.0.0.1:{ports.page}".encode()
    with closing(PageSocket(ports.page, [(b"Origin", origin)])) as page:
        page.next(is_a(AcceptConnection))
        yield page


def test_a_viewer_is_greeted_with_the_last_minute(page: PageSocket) -> None:
    hello = page.next_message("hello")
    history = hello["history"]
    assert isinstance(history, list)
    assert len(history) * float(str(hello["every"])) == pytest.approx(60)
    assert all(0 <= value < 2000 for value in history)


def test_the_rate_moves_smoothly_from_sample_to_sample(page: PageSocket) -> None:
    history = page.next_message("hello")["history"]
    assert isinstance(history, list)
    steps = [abs(one - other) for one, other in pairwise(history)]
    assert 0 < max(steps) < 40


def test_samples_come_several_times_a_second(page: PageSocket) -> None:
    begin = time.monotonic()
    samples = [page.next_message("sample") for _ in range(5)]
    assert time.monotonic() - begin < 3
    times = [sample["time"] for sample in samples]
    assert times == sorted(times, key=lambda when: int(str(when)))
    assert len(set(map(str, times))) == 5


def test_every_viewer_is_counted(ports: Ports, page: PageSocket) -> None:
    alone = int(str(page.next_message("sample")["viewers"]))
    with closing(PageSocket(ports.page, [])) as other:
        other.next_message("hello")
        assert page.next_message("sample")["viewers"] == alone + 1


def test_the_page_is_told_what_the_backend_saw(ports: Ports) -> None:
    fields: Headers = [(b"X-Forwarded-For", b"203.0.113.5"), (b"Via", b"1.1 hopward")]
    with closing(PageSocket(ports.page, fields)) as page:
        seen = page.next_message("hello")["seen"]
    assert seen == {
        "host": f"127.0.0.1:{ports.page}",
        "x-forwarded-for": "203.0.113.5",
        "x-forwarded-proto": None,
        "x-forwarded-host": None,
        "x-request-id": None,
        "via": "1.1 hopward",
    }


def test_compression_is_used_when_it_is_offered(ports: Ports) -> None:
    with closing(PageSocket(ports.page, [], compress=True)) as page:
        accepted = page.next(is_a(AcceptConnection))
        assert isinstance(accepted, AcceptConnection)
        assert [extension.name for extension in accepted.extensions] == ["permessage-deflate"]
        assert page.next_message("hello")["compressed"] is True


def test_a_ping_is_answered_with_its_own_payload(page: PageSocket) -> None:
    page.send(Ping(b"are you there"))
    pong = page.next(is_a(Pong))
    assert isinstance(pong, Pong)
    assert pong.payload == b"are you there"


def test_the_round_trip_is_told_once_a_pong_came_back(page: PageSocket) -> None:
    page.next_message("hello")
    page.next_message("sample")
    trip = page.next_message("sample")["round_trip"]
    assert isinstance(trip, float)
    assert 0 < trip < PATIENCE * 1000


def test_a_close_is_answered_with_its_code(page: PageSocket) -> None:
    page.send(CloseConnection(1000, "done"))
    closed = page.next(is_a(CloseConnection))
    assert isinstance(closed, CloseConnection)
    assert closed.code == 1000


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1:1", "http://127.0.0.1", "null"]
)
def test_another_sites_page_is_refused_the_websocket(ports: Ports, origin: str) -> None:
    with closing(PageSocket(ports.page, [(b"Origin", origin.encode())])) as page:
        refused = page.next(is_a(RejectConnection))
        assert isinstance(refused, RejectConnection)
        assert refused.status_code == 403


HANDSHAKE = {"Connection": "Upgrade", "Upgrade": "websocket"}
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def test_what_is_no_whole_handshake_is_400(ports: Ports) -> None:
    assert ask(ports.page, "/live", Sec_WebSocket_Version="13", **HANDSHAKE).status == 400


def test_an_unknown_websocket_version_is_426_with_the_known_one(ports: Ports) -> None:
    version = {"Sec_WebSocket_Version": "12", "Sec_WebSocket_Key": KEY}
    answer = ask(ports.page, "/live", **HANDSHAKE, **version)
    assert answer.status == 426
    assert answer.fields["Sec-WebSocket-Version"] == "13"


def test_viewers_get_a_close_1001_when_the_demo_ends() -> None:
    async def watch_the_end() -> bytes:
        programs = Programs()
        async with (
            listening(Place("127.0.0.1", 0), programs.suiting("grafana")) as server,
            contextlib.AsyncExitStack() as beating,
        ):
            await beating.enter_async_context(programs.live.beating())
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            await reader.readuntil(b"hello")
            await beating.aclose()
            end = await reader.readuntil(b"\x88\x02\x03\xe9")
            writer.close()
            await writer.wait_closed()
            return end

    assert asyncio.run(asyncio.wait_for(watch_the_end(), PATIENCE)).endswith(b"\x03\xe9")
