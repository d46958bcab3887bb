"""Where a request goes: over TLS, to a unix socket, to one of several origins, or to none."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client, Dial
from tests.http_client import exchange, get
from tests.origins import Listener, answer_ok
from tests.programs import Hopward, free_port, wait_for
from tests.scripted_origin import OK, Call, ScriptedOrigin
from tests.tls_client import TLSClient

UNIX, SPARE, NONE = "unix.example.com", "spare.example.com", "none.example.com"
VERIFIED, UNKNOWN_CA, UNVERIFIED = "verified.example.com", "ca.example.com", "any.example.com"
WRONG_NAME, ANY_NAME, PLAIN = "name.example.com", "anyname.example.com", "plain.example.com"
UNTRUSTED = [UNKNOWN_CA, WRONG_NAME]
PAIR = "pair.example.com"


def over_tls(authority: Authority, name: str) -> Callable[[socket.socket], socket.socket]:
    """The server's side of TLS with a certificate for `name`."""
    pair = authority.pair(name)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    return lambda connection: context.wrap_socket(connection, server_side=True)


class Origins:
    """The origins of this module by what is special about them."""

    def __init__(self, authority: Authority, folder: Path, opened: ExitStack) -> None:
        tls = over_tls(authority, "localhost")
        self.unix_path = folder / "origin.sock"
        self.unix = opened.enter_context(ScriptedOrigin(unix=self.unix_path))
        self.tls = opened.enter_context(ScriptedOrigin(wrap=tls))
        self.misnamed = opened.enter_context(
            ScriptedOrigin(wrap=over_tls(authority, "elsewhere.example"))
        )
        self.first = opened.enter_context(ScriptedOrigin())
        self.second = opened.enter_context(ScriptedOrigin())

    def hang_up(self) -> None:
        for origin in (self.unix, self.tls, self.misnamed, self.first, self.second):
            origin.hang_up()


@pytest.fixture(scope="module")
def all_origins(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origins]:
    with ExitStack() as opened:
        yield Origins(authority, tmp_path_factory.mktemp("origins"), opened)


@pytest.fixture
def origins(all_origins: Origins, origin: ScriptedOrigin) -> Iterator[Origins]:
    yield all_origins
    all_origins.hang_up()


@pytest.fixture(scope="module")
def proxy(
    listening: ScriptedOrigin, all_origins: Origins, authority: Authority, front: Front
) -> Hopward:
    url = f"https://localhost:{all_origins.tls.port}"
    misnamed = f"https://localhost:{all_origins.misnamed.port}"
    dead, ca = f"http://127.0.0.1:{free_port()}", str(authority.pem)
    return front(
        {
            HOST: listening.url,
            UNIX: f"unix:{all_origins.unix_path}",
            VERIFIED: {"to": {"url": url, "ca": ca}},
            UNKNOWN_CA: url,
            UNVERIFIED: {"to": {"url": url, "verify": False}},
            WRONG_NAME: {"to": {"url": misnamed, "ca": ca}},
            ANY_NAME: {"to": {"url": misnamed, "verify": False}},
            PLAIN: {"to": {"url": f"https://localhost:{listening.port}", "verify": False}},
            SPARE: {"to": [dead, listening.url]},
            NONE: {"to": [dead, dead.replace("127.0.0.1", "127.0.0.2")]},
            PAIR: {"to": [all_origins.first.url, all_origins.second.url]},
        }
    )


@pytest.fixture
def dial(proxy: Hopward, origins: Origins, authority: Authority) -> Iterator[Dial]:
    with ExitStack() as connections:

        def connect(host: str = HOST) -> Client:
            wire = TLSClient(proxy.https, host, cafile=authority.pem)
            return Client(connections.enter_context(wire))

        yield connect


def asked(dial: Dial, origin: ScriptedOrigin, host: str) -> tuple[Client, Call]:
    """A client of `host` whose request has reached `origin`."""
    client = dial(host)
    client.send(get(b"/", host))
    call = origin.accept()
    assert call.head().values("host") == [host.encode()]
    return client, call


# Unix sockets and TLS.


def test_an_origin_may_listen_on_a_unix_socket(dial: Dial, origins: Origins) -> None:
    client, call = asked(dial, origins.unix, UNIX)
    call.send(OK)
    assert client.message().content == b"ok"


def test_half_a_response_from_a_unix_socket_aborts_the_client(dial: Dial, origins: Origins) -> None:
    client, call = asked(dial, origins.unix, UNIX)
    call.send(OK[:-1])
    client.head()
    call.close()
    assert not client.ending().clean


@pytest.mark.parametrize("host", [VERIFIED, UNVERIFIED])
def test_an_origin_may_speak_tls(dial: Dial, origins: Origins, host: str) -> None:
    client, call = asked(dial, origins.tls, host)
    call.send(OK)
    assert client.message().content == b"ok"


def test_an_origin_of_another_name_is_taken_where_nothing_is_verified(
    dial: Dial, origins: Origins
) -> None:
    client, call = asked(dial, origins.misnamed, ANY_NAME)
    call.send(OK)
    assert client.message().content == b"ok"


@pytest.mark.parametrize("host", UNTRUSTED)
def test_an_origin_that_cannot_be_verified_gets_no_request_and_the_client_502(
    dial: Dial, origins: Origins, host: str
) -> None:
    client = dial(host)
    client.send(get(b"/", host))
    origin = origins.misnamed if host == WRONG_NAME else origins.tls
    with pytest.raises(OSError, match=r"alert|EOF|reset"):
        origin.accept().exactly(1)
    assert client.message().status == 502


def test_an_origin_that_speaks_no_tls_is_502(
    dial: Dial, origins: Origins, origin: ScriptedOrigin
) -> None:
    client = dial(PLAIN)
    client.send(get(b"/", PLAIN))
    call = origin.accept()
    assert call.exactly(1) == b"\x16"
    call.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    assert client.message().status == 502


def test_a_body_that_ends_with_its_connection_is_complete_with_close_notify(
    dial: Dial, origins: Origins
) -> None:
    client, call = asked(dial, origins.tls, VERIFIED)
    call.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole")
    assert client.head().status == 200
    assert client.chunk() == b"whole"
    assert isinstance(call.socket, ssl.SSLSocket)
    with contextlib.suppress(OSError):  # nobody need answer a close_notify
        call.socket.unwrap()
    assert client.chunk() == b""


def test_without_close_notify_a_body_that_ends_with_its_connection_is_cut_off(
    dial: Dial, origins: Origins
) -> None:
    """Anybody on the way can end a TCP connection (RFC 9112 §9.8)."""
    client, call = asked(dial, origins.tls, VERIFIED)
    call.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
    assert client.head().status == 200
    assert client.chunk() == b"half"
    call.close()
    assert not client.ending().clean


@pytest.mark.parametrize("end", [b"14\r\nhalf", b"4\r\nhalf\r\n"])
def test_half_a_response_over_tls_aborts_the_client(
    dial: Dial, origins: Origins, end: bytes
) -> None:
    client, call = asked(dial, origins.tls, VERIFIED)
    call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + end)
    assert client.head().status == 200
    call.close()
    assert not client.ending().clean


def test_a_kept_connection_over_tls_is_used_again(dial: Dial, origins: Origins) -> None:
    client, call = asked(dial, origins.tls, VERIFIED)
    call.send(OK)
    assert client.message().content == b"ok"
    client.send(get(b"/again", VERIFIED))
    assert call.head().line == b"GET /again HTTP/1.1"
    call.send(OK)
    assert client.message().content == b"ok"


# Several origins.


def chosen(origins: Origins) -> tuple[ScriptedOrigin, ScriptedOrigin]:
    """Of the pair: the origin that has been called, and the other."""
    pair = (origins.first, origins.second)
    wait_for(lambda: any(each.called for each in pair), what="a call")
    return pair if pair[0].called else (pair[1], pair[0])


def test_a_request_goes_to_the_origin_with_the_fewest_under_way(
    dial: Dial, origins: Origins
) -> None:
    clients = [dial(PAIR) for _ in range(4)]
    clients[0].send(get(b"/0", PAIR))
    busy, idle = chosen(origins)
    busy.accept().head()
    for client in clients[1:]:
        client.send(get(b"/x", PAIR))
        call = idle.heard()
        call.head()
        call.send(OK)
        assert client.message().content == b"ok"
    assert not busy.called


def test_requests_at_the_same_time_are_shared_evenly(dial: Dial, origins: Origins) -> None:
    for _ in range(8):
        dial(PAIR).send(get(b"/", PAIR))
    calls = [origin.accept() for origin in (origins.first, origins.second) for _ in range(4)]
    assert len([call.head() for call in calls]) == 8
    assert not origins.first.called
    assert not origins.second.called


def test_the_next_origin_is_tried_where_one_refuses(
    dial: Dial, origins: Origins, origin: ScriptedOrigin
) -> None:
    for _ in range(4):
        client = dial(SPARE)
        client.send(get(b"/", SPARE, method=b"POST"))
        call = origin.heard()
        assert call.head().line == b"POST / HTTP/1.1"
        call.send(OK)
        assert client.message().content == b"ok"


def test_where_every_origin_refuses_it_is_502(dial: Dial, origins: Origins) -> None:
    client = dial(NONE)
    client.send(get(b"/", NONE))
    assert client.message().status == 502


# The limit of connections.


@pytest.fixture(scope="module")
def narrow(front: Front) -> Iterator[Hopward]:
    """A proxy that serves two connections, before an origin that answers by itself."""
    with Listener(answer_ok) as listener:
        yield front({HOST: f"http://127.0.0.1:{listener.port}"}, limits={"connections": 2})


def connect(proxy: Hopward, authority: Authority) -> TLSClient:
    return TLSClient(proxy.https, HOST, cafile=authority.pem)


def serves_another(proxy: Hopward, authority: Authority) -> bool:
    with connect(proxy, authority) as client:
        return exchange(client, get(b"/", HOST)).status == 200


def test_over_the_limit_of_connections_a_request_is_503_until_another_client_leaves(
    narrow: Hopward, authority: Authority
) -> None:
    with connect(narrow, authority), connect(narrow, authority) as leaving:
        with connect(narrow, authority) as third:
            assert exchange(third, get(b"/", HOST)).status == 503
            assert third.recv() == b""
        leaving.close()
        wait_for(lambda: serves_another(narrow, authority), what="a place")
