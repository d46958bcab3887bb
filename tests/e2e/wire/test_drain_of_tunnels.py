"""The one moment at which a tunnel is not transparent: its process is told to stop.

A WebSocket hears Close 1001 at both ends, between two frames; what is no WebSocket hears nothing.
"""

from __future__ import annotations

import struct

import pytest

from tests.e2e.websocket import BINARY, CLOSE, FIN, TEXT, Frame, FrameStream, frame
from tests.e2e.wire.client import HOST, Client
from tests.e2e.wire.draining import LONG, SHORT, Start, asked, tunnel
from tests.e2e.wire.flow import MIB, fill, steadily
from tests.http_client import get
from tests.message_stream import Stream
from tests.scripted_origin import Call, ScriptedOrigin

GOING_AWAY = struct.pack("!H", 1001)
PAYLOAD = bytes(range(256)) * 1024


def frames(stream: Stream) -> FrameStream:
    """The stream read as frames from here on."""
    ahead, stream.ahead = bytes(stream.ahead), bytearray()
    return FrameStream(stream.receive, ahead)


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
    size = 32 * MIB
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
    """Whether all of `size` bytes pass, `sent` of which wait for the client already."""
    taken = 0
    while taken < size:
        # all of it: the kernel wakes a writer only when much of its buffer is free again
        taken += len(client.exactly(sent - taken))
        more = min(MIB, size - sent)
        call.send(bytes(more))
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
