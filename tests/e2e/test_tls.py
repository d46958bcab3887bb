"""TLS as clients meet it: versions, groups, names, alerts, sessions, ALPN."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator

import pytest
from OpenSSL import SSL

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.http_client import exchange, get
from tests.origins import Listener, answer_ok
from tests.programs import Hopward
from tests.tls_client import TLSAlertError, TLSClient

EXACT, WILDCARD = "api.example.com", "*.example.com"
RECONNECTS = 100


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with Listener(answer_ok) as listener:
        yield f"http://127.0.0.1:{listener.port}"


@pytest.fixture(scope="module")
def proxy(origin: str, front: Front) -> Hopward:
    return front({WILDCARD: origin, EXACT: origin}, workers=2)


def connect(proxy: Hopward, authority: Authority, name: str | None, **more: object) -> TLSClient:
    return TLSClient(proxy.https, name, cafile=authority.pem, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION, SSL.TLS1_2_VERSION])
def test_an_older_tls_version_is_refused_with_the_protocol_version_alert(
    proxy: Hopward, version: int
) -> None:
    with pytest.raises(TLSAlertError, match="protocol version"):
        TLSClient(proxy.https, EXACT, versions=(version, version)).close()


def test_a_client_that_can_do_more_gets_tls_1_3(proxy: Hopward, authority: Authority) -> None:
    versions = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)
    with connect(proxy, authority, EXACT, versions=versions) as client:
        assert client.protocol == "TLSv1.3"


def test_the_key_exchange_is_safe_from_quantum_computers_to_come(
    proxy: Hopward, authority: Authority
) -> None:
    with connect(proxy, authority, EXACT) as client:
        assert client.group == "X25519MLKEM768"


def test_a_client_without_hybrid_groups_is_served_as_well(
    proxy: Hopward, trusting: ssl.SSLContext
) -> None:
    bare = socket.create_connection(("127.0.0.1", proxy.https), 30)
    with trusting.wrap_socket(bare, server_hostname=EXACT) as client:
        assert client.version() == "TLSv1.3"


@pytest.mark.parametrize("name", ["unknown.org", "example.com", "a.b.example.com", None])
def test_an_unknown_or_absent_name_gets_unrecognized_name_and_no_certificate(
    proxy: Hopward, name: str | None
) -> None:
    heard: list[str] = []
    with pytest.raises(TLSAlertError, match="unrecognized name"):
        TLSClient(proxy.https, name, heard=heard).close()
    assert not [state for state in heard if "server certificate" in state]
    assert [state for state in heard if "client hello" in state]


@pytest.mark.parametrize(
    ("name", "certificate"),
    [
        (EXACT, [EXACT]),
        ("API.Example.COM", [EXACT]),
        ("other.example.com", [WILDCARD]),
    ],
)
def test_the_certificate_of_the_exact_name_comes_before_the_wildcard(
    proxy: Hopward, authority: Authority, name: str, certificate: list[str]
) -> None:
    with connect(proxy, authority, name) as client:
        assert client.names() == certificate


@pytest.mark.parametrize("offered", [[b"http/1.1"], [b"h3", b"http/1.1"], [b"spdy/1", b"http/1.1"]])
def test_http_1_1_is_chosen_from_what_the_client_offers(
    proxy: Hopward, authority: Authority, offered: list[bytes]
) -> None:
    with connect(proxy, authority, EXACT, alpn=offered) as client:
        assert client.alpn == b"http/1.1"


def test_a_client_without_alpn_is_served_http_1_1(proxy: Hopward, authority: Authority) -> None:
    with connect(proxy, authority, EXACT, alpn=()) as client:
        assert client.alpn == b""
        assert exchange(client, get(b"/", EXACT)).content == b"ok"


def test_a_client_that_offers_only_an_unknown_protocol_gets_no_application_protocol(
    proxy: Hopward,
) -> None:
    with pytest.raises(TLSAlertError, match="no application protocol"):
        TLSClient(proxy.https, EXACT, alpn=[b"imap"]).close()


def test_the_end_of_a_connection_is_announced_with_close_notify(
    proxy: Hopward, authority: Authority
) -> None:
    """RFC 8446 §6.1."""
    with connect(proxy, authority, EXACT) as client:
        exchange(client, get(b"/", EXACT, b"Connection: close"))
        assert client.recv() == b""


def finished(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None, host: str = EXACT
) -> ssl.SSLSocket:
    """A finished exchange: the tickets of TLS 1.3 come after the handshake, before its answer."""
    bare = socket.create_connection(("127.0.0.1", port), 30)
    client = context.wrap_socket(bare, server_hostname=host, session=session)
    client.sendall(get(b"/", host, b"Connection: close"))
    while client.recv(65536):
        pass
    return client


def test_nearly_every_reconnect_resumes_its_session_on_whichever_worker_takes_it(
    proxy: Hopward, trusting: ssl.SSLContext
) -> None:
    assert len(proxy.workers()) >= 2
    resumed, session = 0, None
    for _ in range(RECONNECTS + 1):
        with finished(proxy.https, trusting, session) as client:
            resumed += client.session_reused or 0
            session = client.session
    assert resumed >= 0.95 * RECONNECTS


def test_a_silent_client_keeps_nobody_waiting(proxy: Hopward, authority: Authority) -> None:
    silent = [socket.create_connection(("127.0.0.1", proxy.https)) for _ in range(20)]
    try:
        with connect(proxy, authority, EXACT) as client:
            assert exchange(client, get(b"/", EXACT)).content == b"ok"
    finally:
        for waiting in silent:
            waiting.close()


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", bytes(600)])
def test_what_is_no_tls_ends_its_own_connection_only(
    proxy: Hopward, authority: Authority, octets: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", proxy.https), 30) as stray:
        stray.sendall(octets)
        stray.shutdown(socket.SHUT_WR)
        assert not re.search(rb"HTTP/1.1 200", stray.makefile("rb").read())
    with connect(proxy, authority, EXACT) as client:
        assert exchange(client, get(b"/", EXACT)).content == b"ok"
