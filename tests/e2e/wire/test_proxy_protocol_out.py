"""Origins that are told by the PROXY protocol whose connection each one is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.proxy_protocol import Endpoints, read_header, written_header
from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client
from tests.http_client import get
from tests.programs import Hopward
from tests.scripted_origin import OK, Call, ScriptedOrigin
from tests.tls_client import TLSClient

TRUSTED, CHECKED, V2 = "127.0.0.3", "checked.example.com", "v2.example.com"


@pytest.fixture(scope="module")
def checked() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as listening:
        yield listening


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, checked: ScriptedOrigin, front: Front) -> Hopward:
    return front(
        {
            HOST: {"to": {"url": listening.url, "proxy_protocol": "v1"}},
            V2: {"to": {"url": listening.url, "proxy_protocol": "v2"}},
            CHECKED: {
                "to": {"url": checked.url, "proxy_protocol": "v1"},
                "health": {"path": "/health", "every": "300ms"},
            },
        },
        trusted_proxies=[TRUSTED],
    )


def announced(call: Call) -> Endpoints | None:
    """What the header says that a connection begins with."""
    octets = b""
    while (header := read_header(octets)) is None:
        octets += call.exactly(1)
    assert header.size == len(octets) > 0, octets
    return header.endpoints


@pytest.fixture
def connected(proxy: Hopward, authority: Authority, origin: ScriptedOrigin) -> Iterator[Client]:
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as wire:
        yield Client(wire)


def test_each_request_has_a_connection_of_its_own_that_names_its_client(
    proxy: Hopward, connected: Client, origin: ScriptedOrigin
) -> None:
    address, port = connected.wire.socket.getsockname()
    expected = Endpoints(address, port, "127.0.0.1", proxy.https)
    for _ in range(2):
        connected.send(get(b"/", HOST))
        call = origin.accept()
        assert announced(call) == expected
        assert call.head().line == b"GET / HTTP/1.1"
        call.send(OK)
        assert connected.message().content == b"ok"
        assert call.ending().rest == b""


def test_a_request_that_must_not_be_repeated_is_sent_behind_a_header_too(
    connected: Client, origin: ScriptedOrigin
) -> None:
    connected.send(get(b"/", HOST, b"Content-Length: 2", method=b"POST") + b"hi")
    call = origin.accept()
    assert announced(call) is not None
    assert call.message().content == b"hi"
    call.send(OK)
    assert connected.message().content == b"ok"


@pytest.mark.parametrize("client", ["203.0.113.9", "2001:db8::7"])
def test_whom_a_trusted_proxy_names_is_announced_without_a_port(
    proxy: Hopward, authority: Authority, origin: ScriptedOrigin, client: str
) -> None:
    with TLSClient(proxy.https, V2, cafile=authority.pem, source=TRUSTED) as wire:
        wire.send(get(b"/", V2, b"X-Forwarded-For: " + client.encode()))
        call = origin.accept()
        assert announced(call) == Endpoints(client, 0, "127.0.0.1", proxy.https)
        call.head()
        call.send(OK)
        wire.recv_until(b"ok")


def test_what_a_trusted_proxy_has_announced_is_passed_on(
    proxy: Hopward, authority: Authority, origin: ScriptedOrigin
) -> None:
    ends = Endpoints("203.0.113.9", 40000, "198.51.100.1", 443)
    before = written_header("v1", ends)
    with TLSClient(proxy.https, V2, cafile=authority.pem, source=TRUSTED, before=before) as wire:
        wire.send(get(b"/", V2))
        call = origin.accept()
        assert announced(call) == ends
        call.head()
        call.send(OK)
        wire.recv_until(b"ok")


def test_an_upgrade_is_announced_and_its_tunnel_is_untouched(
    connected: Client, origin: ScriptedOrigin
) -> None:
    connected.send(get(b"/", HOST, b"Connection: Upgrade", b"Upgrade: echo") + b"early")
    call = origin.accept()
    assert announced(call) is not None
    call.head()
    call.send(b"HTTP/1.1 101 .\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
    assert connected.head().status == 101
    assert connected.exactly(5) == b"hello"
    assert call.exactly(5) == b"early"


def test_a_check_of_an_origin_is_announced_as_nobodys(
    proxy: Hopward, checked: ScriptedOrigin
) -> None:
    assert proxy.ready()
    call = checked.accept()
    assert announced(call) is None
    assert call.head().line == b"GET /health HTTP/1.1"
    call.send(OK)
