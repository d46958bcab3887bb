"""Connections that a proxy announces by the PROXY protocol: whose word is taken, and for what."""

from __future__ import annotations

import urllib.request

import pytest

from proxy.proxy_protocol import Endpoints, Version, written_header
from tests.authority import Authority
from tests.e2e.conftest import LISTEN, Front
from tests.e2e.wire.client import HOST
from tests.http_client import exchange, get
from tests.message_stream import Head
from tests.programs import Hopward, free_port, wait_for
from tests.scripted_origin import OK, ScriptedOrigin
from tests.tls_client import PlainClient, TLSAlertError, TLSClient, TruncatedError

CLIENT, INNER, STRANGER = "192.0.2.7", "10.0.0.5", "127.0.0.2"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"
UNKNOWN = b"PROXY UNKNOWN\r\n"
MALFORMED = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n"
CLOSED = "closed.example.com"
NO_HANDSHAKE = (TLSAlertError, TruncatedError, OSError)


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    """A proxy that trusts 127.0.0.1, and 10.0.0.0/8 behind it."""
    return front(
        {HOST: listening.url, CLOSED: {"to": listening.url, "allow": ["203.0.113.0/24"]}},
        trusted_proxies=["127.0.0.1", "10.0.0.0/8"],
    )


@pytest.fixture(scope="module")
def hasty(listening: ScriptedOrigin, front: Front) -> Hopward:
    """A proxy that waits for nobody, and can be asked for its figures."""
    return front(
        {HOST: listening.url},
        trusted_proxies=["127.0.0.1"],
        timeouts={"handshake": "500ms"},
        listen={**LISTEN, "admin": f"127.0.0.1:{free_port()}"},
    )


@pytest.fixture(scope="module")
def limiting(listening: ScriptedOrigin, front: Front) -> Hopward:
    """A proxy of which each client may take one connection, and ask one question in an hour."""
    site = {"to": listening.url, "rate_limit": {"requests": 1, "per": "1h"}}
    limits = {"connections_per_ip": 1}
    return front({HOST: site}, trusted_proxies=["127.0.0.1"], limits=limits)


def announcing(client: str, version: Version) -> bytes:
    return written_header(version, Endpoints(client, 40000, "198.51.100.1", 443))


def received(
    proxy: Hopward, authority: Authority, origin: ScriptedOrigin, before: bytes, *fields: bytes
) -> Head:
    """The head in which a request that came behind `before` reaches the origin."""
    with TLSClient(proxy.https, HOST, cafile=authority.pem, before=before) as client:
        client.send(get(b"/", HOST, *fields))
        call = origin.accept()
        head = call.head()
        call.send(OK)
        client.recv_until(b"ok")
    call.hang_up()
    return head


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("client", [CLIENT, "2001:db8::7"])
def test_the_address_that_a_trusted_proxy_announces_is_the_clients(
    proxy: Hopward, authority: Authority, origin: ScriptedOrigin, version: Version, client: str
) -> None:
    head = received(proxy, authority, origin, announcing(client, version))
    assert head.values("x-forwarded-for") == [client.encode()]


def test_an_announced_client_that_nobody_trusts_names_nobody_else(
    proxy: Hopward, authority: Authority, origin: ScriptedOrigin
) -> None:
    head = received(proxy, authority, origin, V1, b"X-Forwarded-For: 203.0.113.9")
    assert head.values("x-forwarded-for") == [CLIENT.encode()]


def test_an_announced_proxy_that_is_trusted_may_name_its_client(
    proxy: Hopward, authority: Authority, origin: ScriptedOrigin
) -> None:
    field = b"X-Forwarded-For: 203.0.113.9"
    head = received(proxy, authority, origin, announcing(INNER, "v2"), field)
    assert head.values("x-forwarded-for") == [b"203.0.113.9"]


@pytest.mark.parametrize("before", [b"", UNKNOWN, written_header("v2", None)])
def test_a_trusted_proxy_may_speak_for_itself(
    proxy: Hopward, authority: Authority, origin: ScriptedOrigin, before: bytes
) -> None:
    head = received(proxy, authority, origin, before)
    assert head.values("x-forwarded-for") == [b"127.0.0.1"]


@pytest.mark.parametrize(("client", "status"), [("203.0.113.9", 200), (CLIENT, 403)])
def test_the_announced_address_is_the_one_that_is_allowed_or_not(
    proxy: Hopward, authority: Authority, origin: ScriptedOrigin, client: str, status: int
) -> None:
    before = announcing(client, "v1")
    with TLSClient(proxy.https, CLOSED, cafile=authority.pem, before=before) as connected:
        connected.send(get(b"/", CLOSED))
        if status == 200:
            call = origin.accept()
            call.head()
            call.send(OK)
        assert connected.recv().startswith(b"HTTP/1.1 %d " % status)


def test_a_header_from_anybody_else_is_no_tls(proxy: Hopward, authority: Authority) -> None:
    with pytest.raises(NO_HANDSHAKE):
        TLSClient(proxy.https, HOST, cafile=authority.pem, before=V1, source=STRANGER)


@pytest.mark.parametrize("before", [MALFORMED, V1 + V1, b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n"])
def test_a_malformed_header_ends_the_connection(
    proxy: Hopward, authority: Authority, before: bytes
) -> None:
    with pytest.raises(NO_HANDSHAKE):
        TLSClient(proxy.https, HOST, cafile=authority.pem, before=before)


@pytest.mark.parametrize("begun", [b"", V1[:-1], b"\r\n\r\n\0\r\nQUIT\n"])
def test_a_header_that_does_not_come_in_time_ends_the_connection(
    hasty: Hopward, begun: bytes
) -> None:
    with PlainClient(hasty.https) as client:
        client.send(begun)
        assert ending(client) == b""


def figure(proxy: Hopward, name: str) -> float:
    """What /metrics tells by that name, labels included; 0 where it tells nothing."""
    admin = int(proxy.ready()["admin"][0].rpartition(":")[2])
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.mark.parametrize(("said", "reason"), [(MALFORMED, "malformed"), (V1[:-1], "timeout")])
def test_a_refused_header_is_counted_and_told_with_whose_it_was(
    hasty: Hopward, said: bytes, reason: str
) -> None:
    name = f'hopward_proxy_headers_refused_total{{reason="{reason}"}}'
    before = figure(hasty, name)
    with PlainClient(hasty.https) as client:
        client.send(said)
        assert ending(client) == b""
    wait_for(lambda: figure(hasty, name) == before + 1, what="one more header refused")
    event = r'"proxy-header-refused", "peer": "127.0.0.1"'
    wait_for(lambda: hasty.says(event), what="the event that names whose it was")


def test_a_trusted_proxy_that_says_nothing_is_a_handshake_that_timed_out(hasty: Hopward) -> None:
    name = 'hopward_tls_handshake_failures_total{reason="timeout"}'
    refused = figure(hasty, "hopward_proxy_headers_refused_total")
    before = figure(hasty, name)
    with PlainClient(hasty.https) as client:
        assert ending(client) == b""
    wait_for(lambda: figure(hasty, name) == before + 1, what="one more time-out")
    assert figure(hasty, "hopward_proxy_headers_refused_total") == refused


def ending(client: PlainClient) -> bytes:
    """All that is said until the connection ends, whichever way it ends."""
    client.socket.settimeout(10)
    said = b""
    try:
        while piece := client.recv():
            said += piece
    except ConnectionResetError:
        pass
    return said


def test_connections_are_counted_by_the_client_that_is_announced(
    limiting: Hopward, authority: Authority
) -> None:
    before = announcing(CLIENT, "v2")
    assert limiting.http is not None
    with TLSClient(limiting.https, HOST, cafile=authority.pem, before=before):
        with TLSClient(limiting.https, HOST, cafile=authority.pem, before=before) as second:
            assert exchange(second, get(b"/", HOST)).status == 503
        for client, status in ((CLIENT, 503), ("192.0.2.8", 308)):
            with PlainClient(limiting.http) as plain:
                plain.send(announcing(client, "v1"))
                assert exchange(plain, get(b"/", HOST)).status == status


def test_requests_are_counted_by_the_client_that_is_announced(
    limiting: Hopward, authority: Authority, origin: ScriptedOrigin
) -> None:
    for client in ("192.0.2.9", "192.0.2.10"):
        before = announcing(client, "v2")
        with TLSClient(limiting.https, HOST, cafile=authority.pem, before=before) as wire:
            wire.send(get(b"/", HOST))
            call = origin.accept()
            call.head()
            call.send(OK)
            wire.recv_until(b"ok")
            assert exchange(wire, get(b"/", HOST)).status == 429
        call.hang_up()


# Port 80.


@pytest.mark.parametrize("before", [b"", V1, UNKNOWN, announcing("2001:db8::7", "v2")])
def test_port_80_takes_a_trusted_proxys_header_too(proxy: Hopward, before: bytes) -> None:
    assert proxy.http is not None
    with PlainClient(proxy.http) as client:
        client.send(before)
        assert exchange(client, get(b"/", HOST)).status == 308


@pytest.mark.parametrize("before", [V1, announcing(CLIENT, "v2")])
def test_on_port_80_a_header_from_anybody_else_is_a_malformed_request(
    proxy: Hopward, before: bytes
) -> None:
    assert proxy.http is not None
    with PlainClient(proxy.http, source=STRANGER) as client:
        client.send(before + get(b"/", HOST))
        assert client.recv().startswith(b"HTTP/1.1 400 ")


def test_on_port_80_empty_lines_before_a_request_are_still_no_header(proxy: Hopward) -> None:
    assert proxy.http is not None
    with PlainClient(proxy.http) as client:
        client.send(b"\r\n")
        assert exchange(client, get(b"/", HOST)).status == 308
