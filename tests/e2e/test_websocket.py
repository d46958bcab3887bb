"""A tunnel changes nothing: a WebSocket client lives through the same with the proxy and without.

Two origins answer: the websockets library, which judges every frame, and a raw echo, which
judges none and so shows that the tunnel does not either.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.websocket import (
    BINARY,
    CLOSE,
    FIN,
    TEXT,
    Frame,
    FrameStream,
    Handshake,
    Inflater,
    RawEcho,
    Record,
    close,
    frame,
    open_websocket,
)
from tests.e2e.websocket_cases import CASES, Case
from tests.programs import Hopward, Program, accepts, free_port
from tests.tls_client import PlainClient, TLSClient

HOST, RAW_HOST = "live.example.com", "raw.example.com"
BARRIER = b"every frame before this one has been judged"
CUT = {
    "one byte of its head": b"\x82",
    "a size with its top bit set": b"\x82\xff" + b"\xff" * 8 + bytes(4),
    "half its payload": frame(FIN | BINARY, bytes(1000))[:500],
}

Connect = Callable[[], PlainClient]


class Ways(NamedTuple):
    """How a client reaches the same origin: directly, and through the proxy."""

    host: str
    direct: Connect
    proxied: Connect


class Transcript(NamedTuple):
    """What a client lived through; pongs and echoes may overtake each other, so lie apart."""

    handshake: Handshake
    messages: list[Frame]
    control: list[Frame]
    rest: bytes
    end: str | None


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port, script = free_port(), Path(__file__).with_name("websockets_echo.py")
    folder = tmp_path_factory.mktemp("websockets")
    command = [sys.executable, str(script), str(port)]
    with Program("websockets", command, folder, until=lambda: accepts(port)):
        yield port


@pytest.fixture(scope="module")
def echo() -> Iterator[RawEcho]:
    with RawEcho() as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(library: int, echo: RawEcho, front: Front) -> Hopward:
    origins = {HOST: library, RAW_HOST: echo.port}
    return front({host: f"http://127.0.0.1:{port}" for host, port in origins.items()})


@pytest.fixture(scope="module")
def ways(library: int, proxy: Hopward, authority: Authority) -> Ways:
    return _ways(HOST, library, proxy, authority)


@pytest.fixture(scope="module")
def raw(echo: RawEcho, proxy: Hopward, authority: Authority) -> Ways:
    return _ways(RAW_HOST, echo.port, proxy, authority)


def _ways(host: str, port: int, proxy: Hopward, authority: Authority) -> Ways:
    return Ways(
        host,
        lambda: PlainClient(port),
        lambda: TLSClient(proxy.https, host, cafile=authority.pem),
    )


class Conversation:
    """A client's side of one WebSocket: the frames it got so far."""

    def __init__(self, stream: FrameStream) -> None:
        self._stream, self._inflater = stream, Inflater()
        self.frames: list[Frame] = []
        self.said = b""

    def hear(self) -> bool:
        """Take the next frame; False after a Close and at the end of the stream."""
        if self.closed() or (each := self._stream.next()) is None:
            return False
        self.frames.append(each)
        self.said = self._inflater.content(each)
        return True

    def closed(self) -> bool:
        return any(each.opcode == CLOSE for each in self.frames)


def live_through(connect: Connect, host: str, case: Case) -> Transcript:
    """One case from handshake to the end of the stream."""
    with connect() as client:
        handshake, stream = open_websocket(client, host, "/", *case.fields)
        talk = Conversation(stream)
        _follow(client, talk, case)
        with contextlib.suppress(ConnectionError):
            client.send(close(1000))
            while talk.hear():
                pass
            client.half_close()
        while (late := stream.next()) is not None:
            talk.frames.append(late)
    messages = [each for each in talk.frames if each.opcode < CLOSE]
    control = [each for each in talk.frames if each.opcode >= CLOSE]
    return Transcript(handshake, messages, control, bytes(stream.rest), stream.end)


def _follow(client: PlainClient, talk: Conversation, case: Case) -> None:
    for octets, frames in case.steps:
        client.send(octets)
        for _ in range(frames):
            talk.hear()
    if not talk.closed():
        client.send(frame(FIN | TEXT, BARRIER))
    while talk.said != BARRIER and talk.hear():
        pass


def named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_server_judges_a_client_as_it_does_without_the_proxy(ways: Ways, case: Case) -> None:
    direct = live_through(ways.direct, ways.host, case)
    assert direct.handshake.status == 101
    assert live_through(ways.proxied, ways.host, case) == direct


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_proxy_judges_no_frame_itself(raw: Ways, echo: RawEcho, case: Case) -> None:
    direct, seen_directly = live_through(raw.direct, raw.host, case), echo.record()
    assert direct.handshake.status == 101
    assert live_through(raw.proxied, raw.host, case) == direct
    assert echo.record() == seen_directly


def converse(client: PlainClient, host: str, target: str) -> FrameStream:
    """A WebSocket that has carried one frame there and back."""
    _, stream = open_websocket(client, host, target)
    client.send(frame(FIN | TEXT, b"first"))
    assert stream.next() == Frame(FIN | TEXT, False, b"first")
    return stream


def both(raw: Ways, echo: RawEcho, live: Callable[[PlainClient], object]) -> list[Record]:
    """What the origin saw of a client that did the same directly and through the proxy."""
    records = []
    for connect in (raw.direct, raw.proxied):
        with connect() as client:
            live(client)
            records.append(echo.record())
    return records


@pytest.mark.parametrize("octets", CUT.values(), ids=CUT)
def test_a_frame_cut_by_a_silent_end_reaches_the_origin_so_far(
    raw: Ways, echo: RawEcho, octets: bytes
) -> None:
    def vanish(client: PlainClient) -> None:
        converse(client, raw.host, "/")
        client.send(octets)
        client.vanish()

    direct, proxied = both(raw, echo, vanish)
    assert direct.rest == octets
    assert (proxied.frames, proxied.rest) == (direct.frames, direct.rest)


def test_the_origin_learns_of_a_client_that_resets_its_connection(raw: Ways, echo: RawEcho) -> None:
    def reset(client: PlainClient) -> None:
        converse(client, raw.host, "/")
        client.send(frame(FIN | BINARY, bytes(1000))[:500])
        client.reset()

    direct, proxied = both(raw, echo, reset)
    assert direct.end is not None
    assert proxied.end is not None
    assert proxied.frames == direct.frames


def leave(connect: Connect, host: str, target: str) -> FrameStream:
    """The rest of the stream of an origin that leaves within a frame."""
    with connect() as client:
        _, stream = open_websocket(client, host, target)
        client.send(frame(FIN | TEXT, b"go"))
        assert stream.next() is None
    return stream


@pytest.mark.parametrize(("target", "end"), [("/half", "closed"), ("/reset", "broken")])
def test_an_origin_that_leaves_within_a_frame_does_so_for_the_client(
    raw: Ways, echo: RawEcho, target: str, end: str
) -> None:
    direct, proxied = leave(raw.direct, raw.host, target), leave(raw.proxied, raw.host, target)
    assert (bytes(direct.rest), direct.end) == (b"\x82\x7e\x01\x00half a frame", end)
    assert (proxied.rest, proxied.end) == (direct.rest, direct.end)
    assert [echo.record().end, echo.record().end] == [None, None]


def test_the_origin_may_go_on_after_the_clients_half_close(raw: Ways, echo: RawEcho) -> None:
    def half_close(client: PlainClient) -> None:
        stream = converse(client, raw.host, "/farewell")
        client.half_close()
        assert stream.next() == Frame(FIN | TEXT, False, b"farewell")
        assert stream.next() is None
        assert stream.end == "closed"

    direct, proxied = both(raw, echo, half_close)
    assert proxied == direct


def test_frames_that_came_early_with_the_handshake_are_carried_after_it(
    raw: Ways, echo: RawEcho
) -> None:
    def hasten(client: PlainClient) -> None:
        hasty = frame(FIN | TEXT, b"early") + frame(FIN | BINARY, bytes(70000))
        _, stream = open_websocket(client, raw.host, early=hasty)
        assert stream.next() == Frame(FIN | TEXT, False, b"early")
        assert stream.next() == Frame(FIN | BINARY, False, bytes(70000))
        client.half_close()
        assert stream.next() is None

    direct, proxied = both(raw, echo, hasten)
    assert proxied == direct
