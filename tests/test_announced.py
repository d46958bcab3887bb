"""Connections that a trusted proxy may have announced, before anybody serves them."""

from __future__ import annotations

import asyncio

import pytest

from proxy.announced import announceable
from proxy.clock import TICK
from proxy.config import Config
from proxy.listener import Listener
from proxy.proxy_protocol import Endpoints
from proxy.routing import Table
from proxy.tls import Base
from tests.playbook import Wire, on_stage, settled, stage

HELLO = b"\x16\x03\x01 and so on"
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"
ENDS = Endpoints("192.0.2.7", 40000, "198.51.100.1", 443)
TRUSTED, STRANGER = "10.0.0.1", "203.0.113.1"


class Served(asyncio.Protocol):
    """Who serves a connection, and writes down what it is told."""

    kind = "https"

    def __init__(self, entry: Entry, ends: Endpoints | None) -> None:
        self.entry, self.ends, self.heard = entry, ends, b""
        self.full = self.timed_out = False
        entry.served.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.full = self.entry.listener.full
        self.entry.listener.joined(self)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def expired(self) -> None:
        self.timed_out = True


class Peer(Wire):
    """A connection from some address."""

    def __init__(self, protocol: asyncio.BaseProtocol, address: str) -> None:
        super().__init__(protocol)
        self._address = address

    def get_extra_info(self, name: str, default: object = None) -> object:
        return (self._address, 50000) if name == "peername" else default

    def abort(self) -> None:
        super().abort()
        self.lost()


class Entry:
    """Where connections come in."""

    def __init__(self, **settings: object) -> None:
        written = {"trusted_proxies": ["10.0.0.0/8"], **settings}
        config = Config.model_validate({"sites": {"a": "http://127.0.0.1:1"}, **written})
        self.listener = Listener(config, Table(config.sites), Base(), workers=1)
        self.served: list[Served] = []
        self._make = announceable(self.listener, lambda ends: Served(self, ends))

    def connect(self, address: str = TRUSTED) -> Peer:
        protocol = self._make()
        peer = Peer(protocol, address)
        protocol.connection_made(peer)
        return peer


@on_stage
async def test_an_announced_connection_is_served_as_the_clients() -> None:
    entry = Entry()
    entry.connect().says(LINE + HELLO)
    (served,) = entry.served
    assert (served.ends, served.heard) == (ENDS, HELLO)


@on_stage
async def test_a_header_may_come_octet_by_octet() -> None:
    entry = Entry()
    peer = entry.connect()
    for octet in LINE + HELLO:
        peer.says(bytes([octet]))
    (served,) = entry.served
    assert (served.ends, served.heard) == (ENDS, HELLO)


@on_stage
async def test_a_trusted_proxy_need_not_announce_anybody() -> None:
    entry = Entry()
    entry.connect().says(HELLO)
    (served,) = entry.served
    assert (served.ends, served.heard) == (None, HELLO)


@on_stage
async def test_a_proxy_that_speaks_for_itself_is_the_peer() -> None:
    entry = Entry()
    entry.connect().says(b"PROXY UNKNOWN\r\n" + HELLO)
    (served,) = entry.served
    assert (served.ends, served.heard) == (None, HELLO)


@pytest.mark.parametrize("address", [STRANGER, "::ffff:203.0.113.1"])
@on_stage
async def test_a_stranger_is_served_at_once_and_announces_nobody(address: str) -> None:
    entry = Entry()
    peer = entry.connect(address)
    (served,) = entry.served
    peer.says(LINE + HELLO)
    assert (served.ends, served.heard) == (None, LINE + HELLO)


@on_stage
async def test_a_trusted_address_may_be_mapped_into_ipv6() -> None:
    entry = Entry()
    entry.connect("::ffff:10.0.0.1").says(LINE)
    assert [served.ends for served in entry.served] == [ENDS]


@on_stage
async def test_where_nobody_is_trusted_nothing_stands_before_a_connection() -> None:
    entry = Entry(trusted_proxies=[])
    assert isinstance(entry.connect().protocol, Served)


@on_stage
async def test_a_malformed_header_ends_the_connection() -> None:
    entry = Entry()
    peer = entry.connect()
    peer.says(b"PROXY TCP4 nonsense\r\n" + HELLO)
    assert peer.aborted
    assert entry.served == []


@on_stage
async def test_who_is_slow_to_say_whom_he_announces_is_not_waited_for() -> None:
    entry = Entry(timeouts={"handshake": "2s"})
    peer = entry.connect()
    peer.says(b"PROXY TCP4 192.0.2.7")
    stage().now += 1.9
    await settled()
    assert not peer.aborted
    stage().now += 0.1 + TICK
    await settled()
    assert peer.aborted


@on_stage
async def test_who_says_nothing_is_a_client_that_is_out_of_time() -> None:
    entry = Entry(timeouts={"handshake": "2s"})
    entry.connect()
    stage().now += 2 + TICK
    await settled()
    (served,) = entry.served
    assert (served.heard, served.timed_out) == (b"", True)


@on_stage
async def test_a_connection_counts_once_while_it_is_announced_and_after() -> None:
    entry = Entry(limits={"connections": "1"})
    peer = entry.connect()
    assert entry.listener.full
    peer.says(LINE)
    assert not entry.served[0].full
    assert entry.listener.full


@on_stage
async def test_a_drain_does_not_wait_for_who_has_asked_nothing() -> None:
    entry = Entry()
    peer = entry.connect()
    draining = asyncio.create_task(entry.listener.drain())
    await settled()
    assert peer.closed
    peer.lost()
    await draining


@on_stage
async def test_a_worker_that_retires_still_serves_who_is_being_announced() -> None:
    entry = Entry()
    ended: list[str] = []
    peer = entry.connect()
    entry.listener.retire(then=lambda: ended.append("ended"))
    peer.says(LINE + HELLO)
    await settled()
    assert entry.served[0].heard == HELLO
    assert ended == []
    entry.listener.parted(entry.served[0])  # type: ignore[arg-type]
    await settled()
    assert ended == ["ended"]
    await entry.listener.drain()
