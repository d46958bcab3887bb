"""A client's connection: whose turn it is, whom it is held by, and how it ends.

Clients that send ahead wait for one another, and nobody waits for them.
"""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from proxy.config import Config
from proxy.downstream import AHEAD, Downstream
from proxy.engine import ROOM, Session
from proxy.listener import Listener
from proxy.routing import Table
from proxy.sockets import PATIENCE_SECONDS
from proxy.tls import Base, RecordLayer
from proxy.turnstile import AT_ONCE
from tests.playbook import Wire, on_stage, settled, stage
from tests.scene import GET, OK

CLOSE_NOTIFY = b"(close_notify)"
UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n")
SWITCH = b"HTTP/1.1 101 S\r\nUpgrade: %b\r\nConnection: Upgrade\r\n\r\n"


class Unsealed:
    """A record layer without cryptography, whose handshake is one byte."""

    established = ended = challenged = finished = False
    server_name = "a"
    session = Session("", "", resumed=False)

    def __init__(self, transport: asyncio.Transport) -> None:
        self.send = self.send_last = transport.write

    def receive_room(self, size: int) -> bytes:
        assert not self.ended, "after close_notify nothing is read"
        said = bytes(ROOM[:size])
        plain, self.established = said[not self.established :], True
        self.ended = plain == CLOSE_NOTIFY
        return b"" if self.ended else plain

    def finish(self) -> None:
        if not self.finished:
            self.send(CLOSE_NOTIFY)
        self.finished = True

    def fall_silent(self) -> None:
        self.finished = True

    def flush(self) -> None: ...


class Unsealing(Listener):
    """A listener whose clients come without TLS."""

    def record_layer(self, transport: asyncio.Transport) -> RecordLayer:
        return cast(RecordLayer, Unsealed(transport))


class Room:
    """The clients of one worker; its origin answers when a test says so."""

    def __init__(self, **config: object) -> None:
        read = Config.model_validate({"sites": {"a": "http://127.0.0.1:1"}, **config})
        self.listener = Unsealing(read, Table(read.sites), Base(), workers=1)

    def client(self) -> Wire:
        wire = Wire(Downstream(self.listener))
        protocol(wire).connection_made(wire)
        say(wire, b"\x00")
        return wire

    async def upgrading(self, protocol: bytes) -> tuple[Wire, Wire]:
        """A client's wire and its origin's, before the 101."""
        client = self.client()
        say(client, UPGRADE % protocol)
        await settled()
        origin = stage().opened[-1]
        origin.take()
        return client, origin

    async def tunnel(self, protocol: bytes = b"websocket") -> tuple[Wire, Wire]:
        """A client's wire and its origin's, after a 101."""
        client, origin = await self.upgrading(protocol)
        origin.says(SWITCH % protocol)
        assert client.take().startswith(b"HTTP/1.1 101 ")
        return client, origin

    def reload(self, site: str) -> None:
        """From now on that is the only site."""
        read = Config.model_validate({"sites": {site: "http://127.0.0.1:1"}})
        self.listener.adopt(read, Table(read.sites))
        self.listener.retire(then=lambda: None)

    async def senders_ahead(self, count: int) -> list[Wire]:
        """Clients with one request under way each, and two more behind it."""
        clients = [self.client() for _ in range(count)]
        for client in clients:
            say(client, GET * 3)
        await settled()
        assert asked() == count
        return clients


def protocol(wire: Wire) -> Downstream:
    assert isinstance(wire.protocol, Downstream)
    return wire.protocol


def say(client: Wire, octets: bytes) -> None:
    ROOM[: len(octets)] = octets
    protocol(client).buffer_updated(len(octets))


def asked() -> int:
    """How many requests have reached the origin since this was last asked."""
    return sum(wire.take().count(b"GET ") for wire in stage().opened)


def answer(wires: list[Wire]) -> None:
    """The origin answers on all these connections, within one turn of the loop."""
    for wire in wires:
        wire.says(OK)


async def turn() -> None:
    await asyncio.sleep(0)


@on_stage
async def test_of_those_who_have_sent_ahead_so_many_begin_in_one_turn() -> None:
    await Room().senders_ahead(3 * AT_ONCE)
    answer(list(stage().opened))
    assert asked() == AT_ONCE
    await turn()
    assert asked() == AT_ONCE
    await turn()
    assert asked() == AT_ONCE


@on_stage
async def test_who_asks_once_the_answer_has_come_waits_for_none_of_them() -> None:
    room = Room()
    polite = room.client()
    say(polite, GET)
    await settled()
    assert asked() == 1
    answer(stage().opened)
    await room.senders_ahead(2 * AT_ONCE)
    answer(stage().opened[:-1])
    assert asked() == AT_ONCE
    say(polite, GET)
    assert asked() == 1


@on_stage
async def test_each_of_them_is_answered_in_the_end_and_in_order() -> None:
    clients = await Room().senders_ahead(2 * AT_ONCE)
    for _ in range(3):
        answer(list(stage().opened))
        await settled()
    assert [client.take().count(b"\r\n\r\nok") for client in clients] == [3] * len(clients)
    assert asked() == 2 * len(clients)


@on_stage
async def test_what_comes_while_a_request_waits_waits_behind_it() -> None:
    clients = await Room().senders_ahead(AT_ONCE + 1)
    answer(list(stage().opened))
    asked()
    say(clients[-1], GET.replace(b"/x", b"/last"))
    assert not asked()
    for _ in range(3):
        await settled()
        said = b"".join(bytes(wire.written) for wire in stage().opened)
        answer([wire for wire in stage().opened if wire.take()])
    assert b"GET /last" in said


@on_stage
async def test_who_leaves_while_waiting_takes_nobodys_turn_and_asks_nothing() -> None:
    clients = await Room().senders_ahead(3 * AT_ONCE)
    answer(list(stage().opened))
    assert asked() == AT_ONCE
    for client in clients[AT_ONCE : 2 * AT_ONCE]:
        client.lost()
    await turn()
    assert asked() == AT_ONCE
    await settled()
    assert asked() == 0


@on_stage
async def test_nobodys_patience_ends_while_a_request_waits_for_its_turn() -> None:
    clients = await Room(timeouts={"keepalive": "1s"}).senders_ahead(2 * AT_ONCE)
    answer(list(stage().opened))
    waiting = [client for client in clients if protocol(client).deadline > stage().now + 3600]
    assert len(waiting) == AT_ONCE


@on_stage
async def test_what_waits_when_the_worker_ends_is_answered_for_the_last_time() -> None:
    room = Room()
    clients = await room.senders_ahead(AT_ONCE + 1)
    answer(list(stage().opened))
    drained = asyncio.ensure_future(room.listener.drain())
    await settled()
    clients[-1].take()
    answer(list(stage().opened))
    await settled()
    assert b"Connection: close" in clients[-1].take()
    for client in clients:
        client.lost()
    await drained


@on_stage
async def test_who_sends_ahead_is_read_no_further_until_less_is_left() -> None:
    """However many answers have come meanwhile: each let in another read, without end."""
    client = Room().client()
    request = GET[:-4] + b"\r\nX: " + b"x" * 1000 + b"\r\n\r\n"
    count = 2 * AHEAD // len(request)
    say(client, request * count)
    for left in range(count - 1, -1, -1):
        await settled()
        assert client.reading == (left * len(request) <= AHEAD)
        answer(stage().opened)


# ---- a tunnel's end


@on_stage
async def test_a_client_that_takes_nothing_of_a_tunnels_last_words_is_given_up() -> None:
    client, origin = await Room(timeouts={"websocket_idle": "1s"}).tunnel()
    client.waiting = 3
    for _ in range(2):
        stage().now += 1.25
        await settled()
    assert (origin.closed, client.closed, client.aborted) == (True, True, False)
    stage().now += PATIENCE_SECONDS + 1
    await settled()
    assert client.aborted


@pytest.mark.parametrize("left_out", [False, True])
@on_stage
async def test_who_still_takes_a_tunnels_last_words_is_in_the_way_of_no_end(left_out: bool) -> None:
    """Neither of the worker's, nor of the site's."""
    room = Room(timeouts={"websocket_idle": "1s"})
    client, _ = await room.tunnel()
    client.waiting = 3
    for _ in range(2):
        stage().now += 1.25
        await settled()
    assert client.closed
    if left_out:
        room.reload("b")
    drained = asyncio.ensure_future(room.listener.drain())
    await settled()
    assert (client.closed, client.aborted) == (True, False)
    client.lost()
    await drained


@on_stage
async def test_a_client_whose_origin_has_reset_their_tunnel_hears_of_no_clean_end() -> None:
    client, origin = await Room().tunnel()
    origin.lost()
    assert client.half_closed
    say(client, CLOSE_NOTIFY)
    assert client.closed
    assert client.take() == b""


@on_stage
async def test_what_a_client_sends_after_its_end_is_not_kept() -> None:
    """In a tunnel it listens on; OpenSSL reads nothing after close_notify (RFC 8446 §6.1)."""
    client, origin = await Room().tunnel()
    say(client, CLOSE_NOTIFY)
    say(client, b"more")
    origin.says(b"word")
    assert client.take() == b"word"
    assert origin.take() == b""
    client.lost()


@pytest.mark.parametrize(("site", "ends"), [("a", False), ("b", True)])
@on_stage
async def test_a_tunnel_ends_with_its_site_and_no_other(site: str, ends: bool) -> None:
    room = Room()
    client, origin = await room.tunnel(b"x/1")
    room.reload(site)
    assert (client.half_closed, origin.half_closed) == (ends, ends)


@pytest.mark.parametrize("protocol", [b"websocket", b"x/1"])
@on_stage
async def test_a_tunnel_granted_after_the_end_of_its_site_ends_as_it_begins(
    protocol: bytes,
) -> None:
    room = Room()
    client, origin = await room.upgrading(protocol)
    room.reload("b")
    origin.says(SWITCH % protocol)
    assert client.take().startswith(b"HTTP/1.1 101 ")
    assert (client.half_closed, origin.half_closed) == (True, True)
