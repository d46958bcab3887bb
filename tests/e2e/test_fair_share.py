"""What one client may take of the proxy: requests by their rate, connections by their number."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.http_client import Answer, exchange, get, read_answer
from tests.origins import Listener
from tests.programs import Hopward, alive, wait_for
from tests.tls_client import PlainClient, TLSClient

HOST, OTHER = "app.example.com", "other.example.com"
MANY = 30


class Origin(Listener):
    """Answers each request with `ok` and counts them."""

    asked = 0

    def serve(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            for _ in range(data.count(b"\r\n\r\n")):
                self.asked += 1
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as listener:
        yield listener


@pytest.fixture(scope="module")
def proxy(front: Front, origin: Origin) -> Hopward:
    """Two workers; each address may ask 10 times in an hour, and /free/ as often as it likes."""
    to = f"http://127.0.0.1:{origin.port}"
    limit = {"requests": 10, "per": "1h"}
    routes = {"/free/": {"rate_limit": None}, "/same/": to}
    limited = {"to": to, "rate_limit": limit, "routes": routes}
    sites = {HOST: limited, OTHER: {"to": to, "rate_limit": limit}}
    return front(sites, workers=2, trusted_proxies=["127.0.0.99"])


@pytest.fixture
def client(proxy: Hopward, authority: Authority, request: pytest.FixtureRequest) -> Visitor:
    return Visitor(proxy, authority, address_of(request.node.name))


def address_of(test: str) -> str:
    """A loopback address that only this test comes from."""
    return f"127.{1 + hash(test) % 250}.{hash(test) // 250 % 250}.7"


class Visitor:
    """Somebody with an address of his own, who makes a connection for each request."""

    def __init__(self, proxy: Hopward, authority: Authority, address: str) -> None:
        self.proxy, self.authority, self.address = proxy, authority, address

    def connect(self, host: str = HOST) -> TLSClient:
        cafile = self.authority.pem
        return TLSClient(self.proxy.https, host, cafile=cafile, source=self.address)

    def asks(self, target: bytes = b"/", *fields: bytes, host: str = HOST) -> Answer:
        with self.connect(host) as wire:
            return exchange(wire, get(target, host, *fields))

    def asks_often(self, target: bytes = b"/", *fields: bytes, times: int = MANY) -> list[int]:
        return sorted(self.asks(target, *fields).status for _ in range(times))


# Requests by their rate


def test_all_workers_together_let_on_what_one_address_may_ask(
    client: Visitor, origin: Origin
) -> None:
    before = origin.asked
    answers = [client.asks() for _ in range(MANY)]
    assert [answer.status for answer in answers] == [200] * 10 + [429] * (MANY - 10)
    assert origin.asked - before == 10
    ids = {answer.content.rpartition(b"request id: ")[2][:12] for answer in answers[10:]}
    assert len(ids) == 2, "each worker's ids begin in its own way"


def test_another_address_is_served_meanwhile(client: Visitor) -> None:
    client.asks_often()
    assert Visitor(client.proxy, client.authority, "127.0.0.2").asks().status == 200


def test_a_refusal_says_when_to_come_again(client: Visitor) -> None:
    client.asks_often(times=10)
    refusal = client.asks()
    assert refusal.status == 429
    assert refusal.content.startswith(b"429 Too Many Requests: ")
    assert 0 < int(refusal.field("retry-after") or 0) <= 360


def test_a_refusal_leaves_the_connection_open(client: Visitor) -> None:
    client.asks_often(times=10)
    with client.connect() as wire:
        assert exchange(wire, get(b"/", HOST)).status == 429
        assert exchange(wire, get(b"/", HOST)).status == 429
        assert exchange(wire, get(b"/free/", HOST)).status == 200


def test_an_upgrade_is_counted_like_any_request(client: Visitor) -> None:
    client.asks_often(times=10)
    assert client.asks(b"/", b"Connection: Upgrade", b"Upgrade: websocket").status == 429


def test_a_part_of_a_site_shares_what_it_inherits(client: Visitor) -> None:
    client.asks_often(b"/", times=10)
    assert client.asks(b"/same/").status == 429


def test_a_part_of_a_site_may_be_free(client: Visitor) -> None:
    client.asks_often()
    assert client.asks_often(b"/free/") == [200] * MANY


def test_each_site_counts_for_itself(client: Visitor) -> None:
    client.asks_often()
    assert client.asks(host=OTHER).status == 200


def test_whom_a_trusted_proxy_speaks_for_is_counted(client: Visitor) -> None:
    front = Visitor(client.proxy, client.authority, "127.0.0.99")
    assert 429 in front.asks_often(b"/", b"X-Forwarded-For: 192.0.2.1")
    assert front.asks(b"/", b"X-Forwarded-For: 192.0.2.2").status == 200


def test_of_ipv6_a_network_is_counted(client: Visitor) -> None:
    front = Visitor(client.proxy, client.authority, "127.0.0.99")
    for last in range(10):
        assert front.asks(b"/", b"X-Forwarded-For: 2001:db8::%x" % last).status == 200
    assert front.asks(b"/", b"X-Forwarded-For: 2001:db8::ffff").status == 429
    assert front.asks(b"/", b"X-Forwarded-For: 2001:db8:0:1::1").status == 200


def test_a_malformed_request_costs_no_token(client: Visitor) -> None:
    for _ in range(MANY):
        with client.connect() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
            assert read_answer(wire).status == 400
    assert client.asks().status == 200


# Connections by their number


@pytest.fixture(scope="module")
def narrow(front: Front, origin: Origin) -> Hopward:
    """Two workers; each address may have three connections."""
    sites = {HOST: f"http://127.0.0.1:{origin.port}"}
    limits = {"connections_per_ip": 3}
    return front(sites, workers=2, limits=limits, trusted_proxies=["127.0.0.99"])


@pytest.fixture
def holding() -> Iterator[ExitStack]:
    with ExitStack() as connections:
        yield connections


def visitor(narrow: Hopward, authority: Authority, test: str) -> Visitor:
    return Visitor(narrow, authority, address_of(test))


def holds(client: Visitor, connections: ExitStack, count: int) -> list[TLSClient]:
    """Connections that a client keeps open, each of which has been served."""
    wires = [connections.enter_context(client.connect()) for _ in range(count)]
    assert [exchange(wire, get(b"/", HOST)).status for wire in wires] == [200] * count
    return wires


def test_beyond_the_limit_of_an_address_a_connection_is_answered_with_503(
    narrow: Hopward, authority: Authority, holding: ExitStack
) -> None:
    client = visitor(narrow, authority, "beyond")
    holds(client, holding, 3)
    refusal = client.asks()
    assert (refusal.status, refusal.field("connection")) == (503, b"close")
    assert visitor(narrow, authority, "another").asks().status == 200


def test_a_connection_that_ends_makes_room_for_another(
    narrow: Hopward, authority: Authority, holding: ExitStack
) -> None:
    client = visitor(narrow, authority, "room")
    wires = holds(client, holding, 3)
    assert client.asks().status == 503
    wires[0].close()
    wait_for(lambda: client.asks().status == 200, 10)


def test_the_connections_of_a_killed_worker_are_forgotten(
    narrow: Hopward, authority: Authority, holding: ExitStack
) -> None:
    client = visitor(narrow, authority, "killed")
    holds(client, holding, 3)
    before = narrow.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(map(alive, before)))
    wait_for(lambda: len(narrow.workers()) == len(before))
    holds(client, holding, 3)
    assert client.asks().status == 503


def test_a_trusted_proxy_may_have_any_number(
    narrow: Hopward, authority: Authority, holding: ExitStack
) -> None:
    holds(Visitor(narrow, authority, "127.0.0.99"), holding, 10)


def test_connections_without_tls_count_as_well(
    narrow: Hopward, authority: Authority, holding: ExitStack
) -> None:
    client = visitor(narrow, authority, "plain")
    holds(client, holding, 3)
    assert narrow.http is not None
    with PlainClient(narrow.http, source=client.address) as wire:
        assert read_answer(wire).status == 503
