"""An upgrade that the upstream grants becomes a tunnel: every byte, both ends, nothing more."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Dial
from tests.e2e.wire.flow import MIB, fill, steadily, take
from tests.e2e.wire.upgrading import asked, carries, switching, tunnel, upgrade
from tests.programs import Hopward
from tests.scripted_origin import ScriptedOrigin

QUICK, IDLE = 0.25, 0.6
KERNEL = 48 * MIB
ANY_BYTES = bytes(range(256)) * 8


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    """Every patience but that of tunnels is shorter than they live here."""
    steps = ("request_head", "request_body", "keepalive", "response_head", "response_body")
    timeouts = dict.fromkeys(steps, f"{QUICK * 1000:.0f}ms")
    return front({HOST: listening.url}, timeouts=timeouts)


@pytest.fixture(scope="module")
def impatient(listening: ScriptedOrigin, front: Front) -> Hopward:
    idle = f"{IDLE * 1000:.0f}ms"
    return front({HOST: listening.url}, timeouts={"websocket_idle": idle})


# Bytes.


@pytest.mark.parametrize("protocol", [b"websocket", b"custom/1"])
def test_any_bytes_pass_both_ways_unchanged(
    dial: Dial, origin: ScriptedOrigin, protocol: bytes
) -> None:
    client, call = tunnel(dial, origin, protocol)
    for _ in range(20):
        client.send(ANY_BYTES)
        assert call.exactly(len(ANY_BYTES)) == ANY_BYTES
        call.send(ANY_BYTES[::-1])
        assert client.exactly(len(ANY_BYTES)) == ANY_BYTES[::-1]


@pytest.mark.parametrize("protocol", [b"websocket", b"custom/1"])
def test_much_at_once_passes_unchanged_to_a_client_that_reads_slowly(
    dial: Dial, origin: ScriptedOrigin, protocol: bytes
) -> None:
    client, call = tunnel(dial, origin, protocol)
    much = random.Random(0).randbytes(16 * MIB)
    with ThreadPoolExecutor(1) as other:
        sent = other.submit(call.send, much)
        for at in range(0, len(much), MIB // 2):
            assert client.exactly(MIB // 2) == much[at : at + MIB // 2]
        sent.result()
    assert carries(client, call)


def test_bytes_that_came_early_are_held_until_the_switch(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    """RFC 9110 §7.8."""
    client, call = asked(dial, origin, upgrade(b"custom/1") + b"early")
    client.send(b" and more")
    call.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert client.head().status == 103
    assert call.silent()
    call.send(switching(b"custom/1"))
    assert call.exactly(14) == b"early and more"


def test_bytes_that_come_with_the_switch_reach_the_client(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    """RFC 9110 §7.8."""
    client, call = asked(dial, origin, upgrade(b"custom/1"))
    call.send(switching(b"custom/1") + b"at once")
    assert client.head().status == 101
    assert client.exactly(7) == b"at once"


def test_many_early_bytes_are_held_within_bounds_and_in_order(
    dial: Dial, origin: ScriptedOrigin, proxy: Hopward
) -> None:
    client, call = asked(dial, origin, upgrade(b"custom/1"))
    before = proxy.memory()
    sent = fill(client)
    assert sent < KERNEL
    assert proxy.memory() - before < 8 * MIB
    call.send(switching(b"custom/1"))
    assert take(call, sent) == sent
    assert client.head().status == 101


# Ends.


def test_a_clients_half_close_leaves_the_other_direction_open(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    """RFC 9110 §7.8."""
    client, call = tunnel(dial, origin)
    client.send(b"last words")
    client.wire.half_close()
    assert call.ending() == (b"last words", True)
    for _ in range(3):
        call.send(b"still here")
        assert client.exactly(10) == b"still here"
    call.close()
    assert client.ending() == (b"", True)


def test_an_origins_half_close_leaves_the_other_direction_open(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    """RFC 9110 §7.8."""
    client, call = tunnel(dial, origin)
    call.send(b"last words")
    call.half_close()
    assert client.ending() == (b"last words", True)
    for _ in range(3):
        client.send(b"still here")
        assert call.exactly(10) == b"still here"
    client.wire.close()
    assert call.ending() == (b"", True)


def test_both_ends_may_close_one_after_the_other(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = tunnel(dial, origin)
    client.wire.half_close()
    assert call.ending() == (b"", True)
    call.send(b"alone")
    call.half_close()
    assert client.ending() == (b"alone", True)


def test_what_was_said_before_both_ends_closed_still_arrives_at_a_slow_origin(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = tunnel(dial, origin)
    call.half_close()
    assert client.ending() == (b"", True)
    client.send(bytes(2 * MIB))
    client.wire.close()
    received = 0
    for _ in steadily(3, QUICK):
        received += take(call, MIB // 2)
    rest, clean = call.ending()
    assert received + len(rest) == 2 * MIB
    assert clean


def test_what_was_said_before_both_ends_closed_still_arrives_at_a_slow_client(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = tunnel(dial, origin)
    sent = fill(call)
    client.wire.half_close()
    assert call.ending() == (b"", True)
    call.close()
    received = 0
    for _ in steadily(3, QUICK):
        received += take(client, sent // 4)
    rest, clean = client.ending()
    assert received + len(rest) == sent
    assert clean


def test_a_clients_reset_reaches_the_origin_as_one(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = tunnel(dial, origin)
    assert carries(client, call)
    client.wire.reset()
    assert call.ending() == (b"", False)


def test_an_origins_reset_reaches_the_client_as_one(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = tunnel(dial, origin)
    assert carries(client, call)
    call.reset()
    assert client.ending() == (b"", False)


def test_a_reset_after_the_half_close_of_the_other_end_is_a_reset_still(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = tunnel(dial, origin)
    client.wire.half_close()
    assert call.ending() == (b"", True)
    call.send(b"half")
    call.reset()
    assert client.ending() == (b"half", False)


# Patience.


def test_a_silent_tunnel_outlives_the_patience_for_exchanges(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = tunnel(dial, origin)
    for _ in steadily(1, 4 * QUICK):
        assert carries(client, call)


@pytest.mark.parametrize("protocol", [b"websocket", b"custom/1"])
def test_a_half_closed_tunnel_outlives_the_patience_for_exchanges(
    dial: Dial, origin: ScriptedOrigin, protocol: bytes
) -> None:
    client, call = tunnel(dial, origin, protocol)
    client.wire.half_close()
    assert call.ending().clean
    for _ in steadily(1, 4 * QUICK):
        call.send(b"late")
    call.close()
    assert client.ending() == (b"late", True)


class TestIdle:
    """The patience for tunnels themselves, where it is on."""

    @pytest.fixture
    def proxy(self, impatient: Hopward) -> Hopward:
        return impatient

    @pytest.mark.parametrize("protocol", [b"websocket", b"custom/1"])
    def test_a_tunnel_that_nobody_uses_is_ended(
        self, dial: Dial, origin: ScriptedOrigin, protocol: bytes
    ) -> None:
        client, call = tunnel(dial, origin, protocol)
        assert client.ending().clean
        assert call.ending().clean

    @pytest.mark.parametrize("speaker", [0, 1])
    def test_bytes_of_one_direction_keep_a_tunnel(
        self, dial: Dial, origin: ScriptedOrigin, speaker: int
    ) -> None:
        ends = tunnel(dial, origin)
        for _ in steadily(6, IDLE / 3):
            ends[speaker].send(b"x")
        assert ends[1 - speaker].exactly(6) == b"xxxxxx"
        assert carries(*ends)

    def test_an_end_that_takes_slowly_what_was_said_keeps_a_tunnel(
        self, dial: Dial, origin: ScriptedOrigin
    ) -> None:
        client, call = tunnel(dial, origin)
        sent = fill(call)
        piece = sent // 100
        for _ in steadily(12, IDLE / 4):
            take(client, piece)
        assert take(client, sent - 12 * piece) > 0
        assert carries(client, call)

    @pytest.mark.parametrize("speaker", [0, 1])
    def test_an_end_that_takes_nothing_keeps_no_tunnel(
        self, dial: Dial, origin: ScriptedOrigin, speaker: int
    ) -> None:
        ends = tunnel(dial, origin)
        fill(ends[speaker])
        assert not ends[speaker].ending().clean


# Nobody is sent more than he takes.


def test_a_client_that_reads_nothing_stops_its_origin(
    dial: Dial, origin: ScriptedOrigin, proxy: Hopward
) -> None:
    client, call = tunnel(dial, origin, b"websocket")
    before = proxy.memory()
    sent = fill(call)
    assert sent < KERNEL
    assert proxy.memory() - before < 8 * MIB
    client.send(b"still")
    assert call.exactly(5) == b"still"
    assert take(client, sent) == sent


def test_an_origin_that_reads_nothing_stops_its_client(
    dial: Dial, origin: ScriptedOrigin, proxy: Hopward
) -> None:
    client, call = tunnel(dial, origin, b"websocket")
    before = proxy.memory()
    sent = fill(client)
    assert sent < KERNEL
    assert proxy.memory() - before < 8 * MIB
    call.send(b"still")
    assert client.exactly(5) == b"still"
    assert take(call, sent) == sent
