"""After a 101: bytes both ways, transparent in everything but the drain (RFC 9110 §7.8)."""

from __future__ import annotations

import pytest

from proxy.config import Origin
from proxy.engine import PIECE
from proxy.frames import close_frame
from proxy.pool import Pool
from proxy.sockets import PATIENCE_SECONDS
from proxy.tunnel import CLOSING_SECONDS, MUCH, Tunnel
from tests.playbook import ClientOnStage, Wire, on_stage, settled, stage

CLOSE_TO_CLIENT, CLOSE_TO_UPSTREAM_SIZE = close_frame(masked=False), 8
# Text frames: from the client masked by zeros, from the upstream not (RFC 6455 §5.3).
FROM_CLIENT = b"\x81\x85\0\0\0\0hello"
FROM_UPSTREAM = b"\x81\x7e" + (300).to_bytes(2) + b"x" * 300
CLIENTS_CLOSE, UPSTREAMS_CLOSE = b"\x88\x82\0\0\0\0\x03\xe8", b"\x88\x02\x03\xe8"


class Scene:
    """A tunnel between a client and an upstream."""

    def __init__(self, tunnel: Tunnel, client: ClientOnStage, wire: Wire) -> None:
        self.tunnel, self.client, self.upstream = tunnel, client, wire

    @classmethod
    async def begin(cls, *, websocket: bool = True, idle: float | None = None) -> Scene:
        client = ClientOnStage()
        upstream = await Pool(Origin("http", "127.0.0.1", 1), 5).connect()
        tunnel = Tunnel(client, upstream, websocket=websocket, idle=idle)
        return cls(tunnel, client, stage().opened[-1])

    def closes_to_upstream(self) -> bool:
        """Whether what was last written to the upstream is a masked Close, and the end."""
        written = bytes(self.upstream.written)
        return written[-CLOSE_TO_UPSTREAM_SIZE:][:2] == b"\x88\x82" and self.upstream.half_closed


# ---- transparency


@pytest.mark.parametrize("websocket", [False, True])
@on_stage
async def test_what_one_end_says_the_other_hears_unchanged(websocket: bool) -> None:
    scene = await Scene.begin(websocket=websocket)
    for octet in range(256):
        scene.tunnel.client_received(bytes([octet]))
        scene.upstream.says(bytes([255 - octet]))
    assert scene.upstream.take() == bytes(range(256))
    assert scene.client.take() == bytes(reversed(range(256)))


@pytest.mark.parametrize("websocket", [False, True])
@on_stage
async def test_what_comes_in_bulk_is_heard_unchanged(websocket: bool) -> None:
    scene = await Scene.begin(websocket=websocket)
    # Each read lies where the one before did; some are small.
    reads = [bytes([number]) * size for number, size in enumerate([MUCH, MUCH + 1, 3, PIECE, MUCH])]
    for read in reads:
        scene.upstream.says(read)
    assert scene.client.take() == b"".join(reads)


@on_stage
async def test_a_frame_in_bulk_is_finished_before_the_close() -> None:
    scene = await Scene.begin()
    frame = b"\x82\x7f" + (2 * MUCH).to_bytes(8) + bytes(2 * MUCH)
    scene.upstream.says(frame[:MUCH])
    scene.tunnel.drain()
    scene.upstream.says(frame[MUCH:-5])
    scene.upstream.says(frame[-5:] + frame[:MUCH])
    assert scene.client.heard == frame + CLOSE_TO_CLIENT


@on_stage
async def test_the_end_of_what_came_in_bulk_is_an_end_like_any_other() -> None:
    scene = await Scene.begin()
    scene.upstream.says(bytes(MUCH))
    scene.upstream.ends()
    assert scene.client.ends == ["finished"]


@on_stage
async def test_a_close_is_passed_on_like_any_frame() -> None:
    scene = await Scene.begin()
    scene.tunnel.client_received(CLIENTS_CLOSE)
    scene.upstream.says(UPSTREAMS_CLOSE)
    assert scene.upstream.take() == CLIENTS_CLOSE
    assert scene.client.take() == UPSTREAMS_CLOSE
    assert (scene.upstream.is_closing(), scene.client.ends) == (False, [])


# ---- how it ends


@on_stage
async def test_a_clients_half_close_is_carried_over_and_the_upstream_speaks_on() -> None:
    scene = await Scene.begin()
    scene.tunnel.client_ended()
    assert scene.upstream.half_closed
    scene.upstream.says(b"more")
    assert scene.client.take() == b"more"
    assert scene.client.ends == []


@on_stage
async def test_an_upstreams_half_close_is_carried_over_and_the_client_speaks_on() -> None:
    scene = await Scene.begin()
    scene.upstream.ends()
    assert scene.client.ends == ["finished"]
    scene.tunnel.client_received(b"more")
    assert scene.upstream.take() == b"more"
    assert not scene.upstream.is_closing()


@pytest.mark.parametrize("first", ["client", "upstream"])
@on_stage
async def test_when_both_have_ended_both_connections_are_closed(first: str) -> None:
    scene = await Scene.begin()
    if first == "client":
        scene.tunnel.client_ended()
        scene.upstream.ends()
    else:
        scene.upstream.ends()
        scene.tunnel.client_ended()
    assert scene.upstream.closed
    assert scene.client.ends[-1] == "closed"


@on_stage
async def test_an_upstream_that_cannot_half_close_is_not_asked_to_stay_open() -> None:
    """The loop, which does its TLS, has a warning for that and ends it anyway."""
    scene = await Scene.begin()
    scene.upstream.can_write_eof = lambda: False  # type: ignore[method-assign]
    scene.upstream.ends()
    assert scene.upstream.closed
    assert scene.client.ends == ["finished", "closed"]


@on_stage
async def test_what_the_client_said_last_still_reaches_a_slow_upstream() -> None:
    """A reset would throw away what the upstream's kernel has not taken yet."""
    scene = await Scene.begin()
    scene.upstream.ends()
    scene.tunnel.client_received(b"last words")
    scene.tunnel.client_ended()
    scene.tunnel.client_left()
    assert scene.upstream.closed
    assert not scene.upstream.aborted


@on_stage
async def test_an_upstream_that_takes_nothing_of_it_is_given_up_in_the_end() -> None:
    scene = await Scene.begin()
    scene.upstream.ends()
    scene.upstream.waiting = 3
    scene.tunnel.client_ended()
    for left in (2, 1):
        scene.upstream.waiting = left
        stage().now += PATIENCE_SECONDS
        await settled()
        assert not scene.upstream.aborted
    stage().now += PATIENCE_SECONDS
    await settled()
    assert scene.upstream.aborted


@on_stage
async def test_a_client_that_vanishes_is_a_reset_for_the_upstream() -> None:
    scene = await Scene.begin()
    scene.tunnel.client_left()
    assert scene.upstream.aborted


@on_stage
async def test_an_upstream_that_vanishes_is_no_clean_end_for_the_client() -> None:
    scene = await Scene.begin()
    scene.upstream.lost()
    assert scene.client.ends == ["broken off"]


@on_stage
async def test_an_upstream_that_is_gone_after_its_end_is_no_reset() -> None:
    scene = await Scene.begin()
    scene.upstream.ends()
    scene.upstream.lost()
    assert scene.client.ends == ["finished", "closed"]


# ---- backpressure


@on_stage
async def test_a_slow_client_slows_its_upstream() -> None:
    scene = await Scene.begin()
    scene.tunnel.client_full()
    assert not scene.upstream.reading
    scene.tunnel.client_drained()
    assert scene.upstream.reading


@on_stage
async def test_a_slow_upstream_slows_its_client() -> None:
    scene = await Scene.begin()
    protocol = scene.upstream.get_protocol()
    protocol.pause_writing()
    assert scene.client.held
    protocol.resume_writing()
    assert not scene.client.held


# ---- silence


@on_stage
async def test_silence_may_last_for_ever_by_default() -> None:
    assert (await Scene.begin()).client.deadline is None


@on_stage
async def test_silence_counts_from_the_beginning() -> None:
    assert (await Scene.begin(idle=10)).client.deadline == stage().now + 10


@pytest.mark.parametrize("speaker", ["client", "upstream"])
@on_stage
async def test_a_word_from_either_end_breaks_the_silence(speaker: str) -> None:
    scene = await Scene.begin(idle=10)
    stage().now += 9
    if speaker == "client":
        scene.tunnel.client_received(b"x")
    else:
        scene.upstream.says(b"x")
    assert scene.client.deadline == stage().now + 10


@on_stage
async def test_a_silence_too_long_closes_both() -> None:
    scene = await Scene.begin(idle=10)
    scene.tunnel.expired()
    assert scene.upstream.closed
    assert scene.client.ends == ["closed"]


@pytest.mark.parametrize("slow", ["client", "upstream"])
@on_stage
async def test_an_end_that_takes_what_was_said_breaks_the_silence(slow: str) -> None:
    scene = await Scene.begin(idle=10)
    for left in (3, 2, 1):
        if slow == "client":
            scene.client.untaken = left
        else:
            scene.upstream.waiting = left
        stage().now += 10
        scene.tunnel.expired()
        assert scene.client.deadline == stage().now + 10
    scene.tunnel.expired()
    assert scene.upstream.is_closing()
    assert scene.client.ends == ["closed" if slow == "client" else "broken off"]


# ---- the drain


@on_stage
async def test_a_drain_says_close_1001_to_both_at_once_and_the_end() -> None:
    scene = await Scene.begin()
    scene.tunnel.drain()
    assert scene.client.heard == CLOSE_TO_CLIENT
    assert scene.client.ends == ["finished"]
    assert len(scene.upstream.written) == CLOSE_TO_UPSTREAM_SIZE
    assert scene.closes_to_upstream()


@pytest.mark.parametrize("cut", range(1, len(FROM_CLIENT)))
@on_stage
async def test_a_clients_frame_under_way_is_finished_before_the_close(cut: int) -> None:
    scene = await Scene.begin()
    scene.tunnel.client_received(FROM_CLIENT[:cut])
    scene.tunnel.drain()
    assert scene.upstream.written == FROM_CLIENT[:cut]
    assert scene.client.heard == CLOSE_TO_CLIENT
    scene.tunnel.client_received(FROM_CLIENT[cut:] + FROM_CLIENT)
    assert len(scene.upstream.written) == len(FROM_CLIENT) + CLOSE_TO_UPSTREAM_SIZE
    assert scene.upstream.written.startswith(FROM_CLIENT)
    assert scene.closes_to_upstream()


@pytest.mark.parametrize("cut", [*range(1, 8), 200, len(FROM_UPSTREAM) - 1])
@on_stage
async def test_an_upstreams_frame_under_way_is_finished_before_the_close(cut: int) -> None:
    scene = await Scene.begin()
    scene.upstream.says(FROM_UPSTREAM[:cut])
    scene.tunnel.drain()
    assert scene.client.heard == FROM_UPSTREAM[:cut]
    scene.upstream.says(FROM_UPSTREAM[cut:] + FROM_UPSTREAM)
    assert scene.client.heard == FROM_UPSTREAM + CLOSE_TO_CLIENT
    assert scene.client.ends == ["finished"]


@on_stage
async def test_frames_under_way_in_single_bytes_are_finished_in_both_directions() -> None:
    scene = await Scene.begin()
    scene.tunnel.client_received(FROM_CLIENT[:1])
    scene.upstream.says(FROM_UPSTREAM[:1])
    scene.tunnel.drain()
    for octet in FROM_CLIENT[1:]:
        scene.tunnel.client_received(bytes([octet]))
    for octet in FROM_UPSTREAM[1:]:
        scene.upstream.says(bytes([octet]))
    assert scene.client.heard == FROM_UPSTREAM + CLOSE_TO_CLIENT
    assert scene.upstream.written.startswith(FROM_CLIENT)
    assert scene.closes_to_upstream()


@on_stage
async def test_after_the_close_nothing_more_is_passed_on() -> None:
    """RFC 6455 §5.5.1."""
    scene = await Scene.begin()
    scene.tunnel.drain()
    before = bytes(scene.upstream.written), bytes(scene.client.heard)
    scene.tunnel.client_received(CLIENTS_CLOSE)
    scene.upstream.says(FROM_UPSTREAM)
    assert (bytes(scene.upstream.written), bytes(scene.client.heard)) == before


@on_stage
async def test_a_direction_that_has_had_its_close_gets_no_second() -> None:
    """RFC 6455 §5.5.1."""
    scene = await Scene.begin()
    scene.tunnel.client_received(CLIENTS_CLOSE)
    scene.tunnel.drain()
    assert scene.upstream.written == CLIENTS_CLOSE
    assert scene.client.heard == CLOSE_TO_CLIENT


@on_stage
async def test_a_direction_that_has_ended_gets_no_close() -> None:
    scene = await Scene.begin()
    scene.tunnel.client_ended()
    scene.tunnel.drain()
    assert scene.upstream.written == b""
    assert scene.client.heard == CLOSE_TO_CLIENT


@on_stage
async def test_both_ends_get_a_moment_to_answer_the_close() -> None:
    scene = await Scene.begin(idle=1000)
    scene.tunnel.drain()
    assert scene.client.deadline == stage().now + CLOSING_SECONDS
    assert not scene.upstream.is_closing()
    scene.tunnel.expired()
    assert scene.upstream.closed
    assert scene.client.ends[-1] == "closed"


@on_stage
async def test_a_frame_under_way_in_a_drain_may_last_as_long_as_its_end_speaks_or_takes() -> None:
    scene = await Scene.begin(idle=10)
    scene.upstream.says(FROM_UPSTREAM[:8])
    stage().now += 9
    scene.tunnel.drain()
    scene.upstream.says(FROM_UPSTREAM[8:-1])
    assert scene.client.deadline == stage().now + 10
    scene.client.untaken = 3
    scene.tunnel.expired()
    assert not scene.upstream.is_closing()
    scene.upstream.says(FROM_UPSTREAM[-1:])
    assert scene.client.heard == FROM_UPSTREAM + CLOSE_TO_CLIENT


@on_stage
async def test_when_both_have_answered_the_close_nothing_is_waited_for() -> None:
    scene = await Scene.begin()
    scene.tunnel.drain()
    scene.tunnel.client_received(CLIENTS_CLOSE)
    scene.tunnel.client_ended()
    scene.upstream.ends()
    assert scene.upstream.closed
    assert scene.client.ends == ["finished", "closed"]


@on_stage
async def test_a_tunnel_of_another_protocol_is_left_alone_by_the_drain() -> None:
    scene = await Scene.begin(websocket=False)
    scene.tunnel.drain()
    assert scene.upstream.written == scene.client.heard == b""
    assert scene.client.ends == []
    scene.tunnel.client_received(b"more")
    assert scene.upstream.take() == b"more"


# ---- the end of its site


@on_stage
async def test_a_tunnel_of_another_protocol_ends_with_its_site() -> None:
    scene = await Scene.begin(websocket=False, idle=1000)
    scene.tunnel.client_received(b"last words")
    scene.tunnel.retire()
    scene.tunnel.client_received(b"too late")
    scene.upstream.says(b"too late")
    assert (scene.upstream.take(), scene.client.take()) == (b"last words", b"")
    assert (scene.upstream.half_closed, scene.client.ends) == (True, ["finished"])
    assert scene.client.deadline == stage().now + CLOSING_SECONDS
    scene.tunnel.expired()
    assert (scene.upstream.closed, scene.upstream.aborted) == (True, False)
    assert scene.client.ends == ["finished", "closed"]


@on_stage
async def test_a_websocket_hears_of_the_end_of_its_site_as_of_a_drain() -> None:
    scene = await Scene.begin()
    scene.tunnel.retire()
    assert scene.client.heard == CLOSE_TO_CLIENT
    assert scene.closes_to_upstream()
