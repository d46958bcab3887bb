"""SIGTERM ends the process without ending anything that is under way."""

from __future__ import annotations

import signal
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.websocket import BINARY, CLOSE, FIN, TEXT, Frame, FrameStream, frame
from tests.e2e.wire.conftest import HOST, Client
from tests.e2e.wire.flow import MIB, fill, steadily
from tests.http_client import get
from tests.message_stream import Stream
from tests.programs import Hopward, accepts, alive, children, wait_for
from tests.scripted_origin import OK, Call, ScriptedOrigin, elapsed
from tests.tls_client import PlainClient, TLSClient

# No end of a process that takes this long has to do with what it waited for.
SOON = 10.0
LONG, SHORT = "60s", "1s"
GOING_AWAY = struct.pack("!H", 1001)
EVENTS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Draining:
    """A proxy that has been, or will be, asked to stop, and a client's way to it."""

    def __init__(self, proxy: Hopward, authority: Authority, connections: ExitStack) -> None:
        self.proxy, self._authority, self._connections = proxy, authority, connections
        self._port = proxy.https

    def dial(self) -> Client:
        wire = TLSClient(self._port, HOST, cafile=self._authority.pem)
        return Client(self._connections.enter_context(wire))

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to stop, and wait until no listener is left: then it drains."""
        self.proxy.process.send_signal(by)
        wait_for(lambda: not accepts(self._port), SOON, "the end of the listeners")

    def ended(self) -> int:
        """The exit code, soon."""
        return self.proxy.process.wait(SOON)

    @property
    def running(self) -> bool:
        return self.proxy.process.poll() is None


class Start(Protocol):
    """Starts a proxy with a patience of `drain`."""

    def __call__(self, drain: str = LONG, **settings: object) -> Draining: ...


@pytest.fixture
def start(front: Front, origin: ScriptedOrigin, authority: Authority) -> Iterator[Start]:
    with ExitStack() as connections:

        def begin(drain: str = LONG, **settings: object) -> Draining:
            proxy = front({HOST: origin.url}, timeouts={"drain": drain}, **settings)
            return Draining(proxy, authority, connections)

        yield begin


def asked(drain: Draining, origin: ScriptedOrigin, request: bytes) -> tuple[Client, Call]:
    """A client whose request's head has reached the origin."""
    client = drain.dial()
    client.send(request)
    call = origin.accept()
    call.head()
    return client, call


def kept(drain: Draining, origin: ScriptedOrigin) -> tuple[Client, Call]:
    """A client whose connection waits for its second request."""
    client, call = asked(drain, origin, get(b"/", HOST))
    call.send(OK)
    assert client.message().content == b"ok"
    return client, call


def tunnel(drain: Draining, origin: ScriptedOrigin, protocol: bytes) -> tuple[Client, Call]:
    """Both ends of a tunnel."""
    request = get(b"/live", HOST, b"Connection: Upgrade", b"Upgrade: " + protocol)
    client, call = asked(drain, origin, request)
    call.send(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
    assert client.head().status == 101
    return client, call


def frames(stream: Stream) -> FrameStream:
    """The stream read as frames from here on."""
    ahead, stream.ahead = bytes(stream.ahead), bytearray()
    return FrameStream(stream.receive, ahead)


# Exchanges.


def test_a_process_with_nothing_to_do_ends_at_once(start: Start) -> None:
    drain = start()
    workers = drain.proxy.workers()
    drain.stop()
    assert drain.ended() == 0
    assert not [pid for pid in workers if alive(pid)]


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_connections_that_wait_for_a_request_are_closed_cleanly(
    start: Start, origin: ScriptedOrigin, by: signal.Signals
) -> None:
    drain = start()
    client, call = kept(drain, origin)
    fresh = drain.dial()
    drain.stop(by)
    assert client.ending() == (b"", True)
    assert fresh.ending() == (b"", True)
    assert call.ending().rest == b""
    assert drain.ended() == 0


def test_a_handshake_under_way_keeps_no_process_alive(start: Start) -> None:
    drain = start()
    with PlainClient(drain.proxy.https) as silent:
        drain.stop()
        assert drain.ended() == 0
        assert Stream(silent.recv).ending().rest == b""


def test_no_new_connection_is_taken(start: Start, origin: ScriptedOrigin) -> None:
    drain = start()
    plain_port = drain.proxy.http
    assert plain_port is not None
    _, call = asked(drain, origin, get(b"/", HOST))
    drain.stop()
    assert not accepts(plain_port)
    with pytest.raises(ConnectionRefusedError):
        drain.dial()
    assert drain.running
    call.send(OK)
    assert drain.ended() == 0


def test_an_exchange_under_way_ends_as_it_would_and_says_that_it_is_the_last(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start()
    client, call = asked(drain, origin, get(b"/", HOST))
    drain.stop()
    assert drain.running
    call.send(OK)
    answer = client.message()
    assert answer.content == b"ok"
    assert answer.head.values("connection") == [b"close"]
    assert client.ending() == (b"", True)
    assert drain.ended() == 0


def test_a_response_under_way_goes_on_to_its_end(start: Start, origin: ScriptedOrigin) -> None:
    drain = start()
    client, call = asked(drain, origin, get(b"/", HOST))
    call.send(EVENTS + b"5\r\nfirst\r\n")
    assert client.head().status == 200
    assert client.chunk() == b"first"
    drain.stop()
    for _ in range(3):
        call.send(b"5\r\nevent\r\n")
        assert client.chunk() == b"event"
    call.send(b"0\r\nX-Sum: 1\r\n\r\n")
    assert client.chunk() == b""
    assert client.trailers() == [(b"X-Sum", b"1")]
    assert client.ending() == (b"", True)
    assert drain.ended() == 0


def test_an_upload_under_way_goes_on_to_its_end(start: Start, origin: ScriptedOrigin) -> None:
    drain = start()
    client, call = asked(drain, origin, get(b"/", HOST, b"Content-Length: 10", method=b"PUT"))
    drain.stop()
    client.send(b"0123456789")
    assert call.exactly(10) == b"0123456789"
    call.send(OK)
    assert client.message().head.values("connection") == [b"close"]
    assert drain.ended() == 0


def test_a_head_under_way_is_an_exchange_under_way(start: Start, origin: ScriptedOrigin) -> None:
    drain = start()
    client = drain.dial()
    client.send(b"GET / HT")
    other, call = asked(drain, origin, get(b"/other", HOST))  # the first bytes have come by now
    drain.stop()
    client.send(get(b"/", HOST)[8:])
    late = origin.accept()
    assert late.head().line == b"GET / HTTP/1.1"
    late.send(OK)
    assert client.message().head.values("connection") == [b"close"]
    call.send(OK)
    assert other.message().content == b"ok"
    assert drain.ended() == 0


def test_a_slow_reader_gets_all_of_what_was_answered(start: Start, origin: ScriptedOrigin) -> None:
    drain = start()
    client, call = asked(drain, origin, get(b"/", HOST))
    call.send(b"HTTP/1.1 200 OK\r\n\r\n")
    sent = fill(call)
    drain.stop()
    call.close()
    assert drain.running
    answer = client.message()
    assert len(answer.content) == sent
    assert client.ending() == (b"", True)
    assert drain.ended() == 0


def test_every_worker_drains(start: Start, origin: ScriptedOrigin) -> None:
    drain = start(workers=2)
    workers = drain.proxy.workers()
    pairs = [asked(drain, origin, get(b"/", HOST)) for _ in range(8)]
    drain.stop()
    for client, call in pairs:
        call.send(OK)
        assert client.message().content == b"ok"
    assert drain.ended() == 0
    assert len(workers) == 2
    assert not [pid for pid in workers if alive(pid)]


# The end of patience.


def test_what_has_not_ended_within_drain_is_aborted(start: Start, origin: ScriptedOrigin) -> None:
    drain = start(SHORT)
    client, call = asked(drain, origin, get(b"/", HOST))
    call.send(EVENTS + b"5\r\nfirst\r\n")
    assert client.head().status == 200
    assert client.chunk() == b"first"
    assert elapsed(drain.stop) < SOON
    assert drain.ended() == 0
    assert client.ending() == (b"", False)
    assert call.ending().rest == b""


@pytest.mark.parametrize("protocol", [None, b"custom/1", b"websocket"])
def test_a_second_signal_ends_the_process_at_once(
    start: Start, origin: ScriptedOrigin, protocol: bytes | None
) -> None:
    drain = start()
    if protocol is None:
        client, _ = asked(drain, origin, get(b"/", HOST))
    else:
        client, call = tunnel(drain, origin, protocol)
        call.send(b"\x82\x7e\x01\x00half a frame")
        client.exactly(16)
    before = children(drain.proxy.pid)
    drain.stop()
    assert drain.running
    drain.proxy.process.send_signal(signal.SIGTERM)
    assert drain.ended() == 0
    assert not client.ending().clean
    assert not [pid for pid in before if alive(pid)]


# Tunnels.


def closes(stream: FrameStream, *, masked: bool) -> bool:
    """Whether the next frame is Close 1001, as this direction must have it."""
    return stream.next() == Frame(FIN | CLOSE, masked, GOING_AWAY)


def part(client: Client, call: Call) -> None:
    """What both ends do once they have been told."""
    client.wire.close()
    call.close()


def test_a_websocket_gets_close_1001_in_both_directions(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start()
    client, call = tunnel(drain, origin, b"websocket")
    client.send(frame(FIN | TEXT, b"hello"))
    call.send(frame(FIN | TEXT, b"world", key=None))
    down, up = frames(client), frames(call)
    assert up.next() == Frame(FIN | TEXT, True, b"hello")
    assert down.next() == Frame(FIN | TEXT, False, b"world")
    drain.stop()
    assert closes(up, masked=True)
    assert closes(down, masked=False)
    client.send(frame(FIN | CLOSE, GOING_AWAY))
    call.send(frame(FIN | CLOSE, GOING_AWAY, key=None))
    assert down.next() is None
    assert up.next() is None
    assert (bytes(down.rest), down.end) == (b"", "closed")
    part(client, call)
    assert drain.ended() == 0


def test_ends_that_do_not_answer_a_close_keep_no_process_alive(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start()
    client, call = tunnel(drain, origin, b"websocket")
    drain.stop()
    assert closes(frames(client), masked=False)
    assert closes(frames(call), masked=True)
    assert drain.ended() == 0


def test_a_websocket_in_which_nothing_was_said_gets_its_close(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start(workers=2)
    pairs = [tunnel(drain, origin, b"WebSocket") for _ in range(4)]
    drain.stop()
    for client, call in pairs:
        assert closes(frames(client), masked=False)
        assert closes(frames(call), masked=True)
        part(client, call)
    assert drain.ended() == 0


PAYLOAD = bytes(range(256)) * 1024


# Within each part of a frame's head, behind it, and within its payload.
CUTS = [1, 2, 5, 10, 13, 14, 70000]


def test_a_frame_under_way_to_the_client_is_finished_before_the_close(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start()
    tunnels = [tunnel(drain, origin, b"websocket") for _ in CUTS]
    octets = frame(FIN | BINARY, PAYLOAD, key=None)
    for cut, (client, call) in zip(CUTS, tunnels, strict=True):
        call.send(octets[:cut])
        client.ahead += client.exactly(cut)
    drain.stop()
    for cut, (client, call) in zip(CUTS, tunnels, strict=True):
        assert closes(frames(call), masked=True)  # that direction stood between two frames
        call.send(octets[cut:] + frame(FIN | TEXT, b"too late", key=None))
        down = frames(client)
        assert down.next() == Frame(FIN | BINARY, False, PAYLOAD)
        assert closes(down, masked=False)
        assert down.next() is None
        assert down.end == "closed"
        part(client, call)
    assert drain.ended() == 0


def test_a_frame_under_way_to_the_origin_is_finished_before_the_close(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start()
    tunnels = [tunnel(drain, origin, b"websocket") for _ in CUTS]
    octets = frame(FIN | BINARY, PAYLOAD)
    for cut, (client, call) in zip(CUTS, tunnels, strict=True):
        client.send(octets[:cut])
        call.ahead += call.exactly(cut)
    drain.stop()
    for cut, (client, call) in zip(CUTS, tunnels, strict=True):
        assert closes(frames(client), masked=False)
        client.send(octets[cut:] + frame(FIN | TEXT, b"too late"))
        up = frames(call)
        assert up.next() == Frame(FIN | BINARY, True, PAYLOAD)
        assert closes(up, masked=True)
        part(client, call)
    assert drain.ended() == 0


def test_a_large_frame_under_way_to_a_slow_reader_arrives_whole(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start()
    client, call = tunnel(drain, origin, b"websocket")
    size = 64 * MIB
    call.send(struct.pack("!BBQ", FIN | BINARY, 127, size))
    sent = fill(call)
    assert sent < size
    drain.stop()
    assert closes(frames(call), masked=True)
    assert drain.running
    assert client.exactly(10) == struct.pack("!BBQ", FIN | BINARY, 127, size)
    assert passes_through(client, call, size, sent)
    assert closes(frames(client), masked=False)
    part(client, call)
    assert drain.ended() == 0


def passes_through(client: Client, call: Call, size: int, sent: int) -> bool:
    """Whether the rest of `size` bytes passes, each time as much as the client has taken."""
    taken = 0
    while taken < size:
        portion = min(MIB, size - taken)
        taken += len(client.exactly(min(portion, sent - taken)))
        call.send(bytes(more := min(portion, size - sent)))
        sent += more
    return taken == size


def test_a_reader_that_is_slow_to_reach_its_close_is_waited_for(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start()
    client, call = tunnel(drain, origin, b"websocket")
    large = bytes(3 * MIB)
    call.send(frame(FIN | BINARY, large, key=None))
    drain.stop()
    assert closes(frames(call), masked=True)
    call.close()
    taken = b"".join(client.exactly(MIB // 2) for _ in steadily(5, 0.5))
    down = FrameStream(client.receive, taken + bytes(client.ahead))
    assert down.next() == Frame(FIN | BINARY, False, large)
    assert closes(down, masked=False)
    client.wire.close()
    assert drain.ended() == 0


def test_a_frame_that_is_never_finished_is_given_up_with_drain(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start(SHORT)
    client, call = tunnel(drain, origin, b"websocket")
    call.send(frame(FIN | BINARY, PAYLOAD, key=None)[:1000])
    client.exactly(1000)
    drain.stop()
    assert closes(frames(call), masked=True)
    assert drain.ended() == 0
    assert client.ending() == (b"", False)


def test_a_websocket_that_closes_already_gets_no_second_close(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start()
    client, call = tunnel(drain, origin, b"websocket")
    client.send(frame(FIN | CLOSE, b"\x03\xe8"))
    up, down = frames(call), frames(client)
    assert up.next() == Frame(FIN | CLOSE, True, b"\x03\xe8")
    drain.stop()
    call.send(frame(FIN | CLOSE, b"\x03\xe8", key=None))
    assert (first := down.next()) is not None
    assert first.opcode == CLOSE
    assert down.next() is None
    assert up.next() is None
    part(client, call)
    assert drain.ended() == 0


@pytest.mark.parametrize("ends_itself", [True, False])
def test_another_tunnel_lives_until_the_end_of_drain(
    start: Start, origin: ScriptedOrigin, ends_itself: bool
) -> None:
    drain = start(LONG if ends_itself else "2s")
    client, call = tunnel(drain, origin, b"custom/1")
    drain.stop()
    for _ in range(3):
        client.send(b"there")
        assert call.exactly(5) == b"there"
        call.send(b"back")
        assert client.exactly(4) == b"back"
    if ends_itself:
        call.close()
        assert client.ending() == (b"", True)
        client.wire.close()
    assert drain.ended() == 0
    assert client.ending().rest == b""


def test_an_upgrade_that_is_granted_while_draining_is_closed_like_the_others(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start()
    request = get(b"/live", HOST, b"Connection: Upgrade", b"Upgrade: websocket")
    client, call = asked(drain, origin, request)
    drain.stop()
    call.send(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert client.head().status == 101
    assert closes(frames(client), masked=False)
    assert closes(frames(call), masked=True)
    part(client, call)
    assert drain.ended() == 0
