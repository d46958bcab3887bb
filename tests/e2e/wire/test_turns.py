"""Who asks for much lets others have their turn."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from tests.e2e.wire.client import HOST, Client, Dial
from tests.http_client import get
from tests.programs import Hopward
from tests.scripted_origin import OK, ScriptedOrigin
from tests.tls_client import PlainClient, TLSClient
from tests.wire.speaking import Pulse

# Each is answered by the proxy itself, so nothing but its own manners makes it pause.
REQUEST = b"GET / HTTP/1.1\r\nHost:x\r\n\r\n"
# As many as one read can hold.
MANY = 9000


@pytest.fixture
def pulse(proxy: Hopward) -> Iterator[Pulse]:
    assert proxy.http is not None
    with Pulse(proxy.http) as beating:
        yield beating


@pytest.fixture
def plain(proxy: Hopward) -> Iterator[Client]:
    assert proxy.http is not None
    with PlainClient(proxy.http) as wire:
        yield Client(wire)


def answers(client: Client) -> int:
    """How many answers have come and were not counted before."""
    wire = client.wire
    before = len(client.ahead)
    while select.select([wire.socket], [], [], 0)[0] or (
        isinstance(wire, TLSClient) and wire.tls.pending()
    ):
        client.ahead += client.receive()
    return client.ahead.count(b"HTTP/1.1 404 ", before)


def all_answered(client: Client, count: int) -> bool:
    return all(client.message().status == 404 for _ in range(count))


def test_a_flood_of_pipelined_requests_lets_another_client_have_its_turn(
    dial: Dial, pulse: Pulse
) -> None:
    flood = dial()
    flood.send(REQUEST * MANY)
    pulse.beat()
    assert answers(flood) < MANY
    assert all_answered(flood, MANY)


def test_a_flood_of_requests_on_port_80_does_too(plain: Client, pulse: Pulse) -> None:
    plain.send(REQUEST * MANY)
    pulse.beat()
    assert answers(plain) < MANY
    assert all_answered(plain, MANY)


def test_what_stands_behind_a_flood_is_served_in_its_order(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    client.send(REQUEST * 40 + get(b"/then", HOST) + REQUEST * 40)
    assert all_answered(client, 40)
    call = origin.accept()
    assert call.head().line == b"GET /then HTTP/1.1"
    call.send(OK)
    assert client.message().content == b"ok"
    assert all_answered(client, 40)


def test_a_client_that_leaves_within_its_flood_harms_nobody(
    dial: Dial, plain: Client, pulse: Pulse
) -> None:
    flood = dial()
    flood.send(REQUEST * MANY)
    flood.wire.reset()
    plain.send(REQUEST * MANY)
    plain.wire.reset()
    pulse.beat()
    assert all_answered_on(dial())


def all_answered_on(client: Client) -> bool:
    client.send(REQUEST)
    return all_answered(client, 1)
