"""The plain port: nothing is served there but the way to https."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client, Dial
from tests.e2e.wire.flow import steadily
from tests.http_client import get
from tests.message_stream import Message
from tests.programs import Hopward, wait_for
from tests.scripted_origin import ScriptedOrigin
from tests.tls_client import PlainClient

WILDCARD, UNKNOWN = "*.apps.example.com", "unknown.example.com"
TOKEN = b"/.well-known/acme-challenge/"


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    timeouts = {"request_head": "400ms", "keepalive": "400ms"}
    sites = {HOST: listening.url, WILDCARD: listening.url}
    return front(sites, timeouts=timeouts, limits={"request_head": "2KiB"})


@pytest.fixture
def dial(proxy: Hopward, origin: ScriptedOrigin) -> Iterator[Dial]:
    """Connections to the plain port, whatever the name; no origin ever hears of them."""
    with ExitStack() as connections:

        def connect(host: str = HOST) -> Client:
            assert proxy.http is not None
            return Client(connections.enter_context(PlainClient(proxy.http)))

        yield connect
        assert not origin.called


def answer(dial: Dial, request: bytes) -> Message:
    client = dial()
    client.send(request)
    return client.message()


def https(proxy: Hopward, rest: bytes, host: str = HOST) -> bytes:
    """The URL on https; the port is told because it is not 443."""
    return b"https://%b:%d%b" % (host.encode(), proxy.https, rest)


@pytest.mark.parametrize(
    "target",
    [b"/", b"/a/b?c=d&e", b"/?q=[]{}|^`%zz", b"//double", b"/.well-known/other", b"/%2e%2E/"],
)
def test_a_known_host_is_sent_to_the_same_url_on_https(
    dial: Dial, proxy: Hopward, target: bytes
) -> None:
    message = answer(dial, get(target, HOST))
    assert message.status == 308
    assert message.head.value("location") == https(proxy, target)


@pytest.mark.parametrize("written", [HOST.upper(), HOST + ".", HOST + ":80", HOST + ":8080"])
def test_case_trailing_dot_and_port_of_a_host_do_not_matter(
    dial: Dial, proxy: Hopward, written: str
) -> None:
    message = answer(dial, get(b"/x", written))
    assert message.status == 308
    assert (message.head.value("location") or b"").lower() == https(proxy, b"/x")


def test_a_name_under_a_wildcard_is_sent_to_itself(dial: Dial, proxy: Hopward) -> None:
    message = answer(dial, get(b"/x", "one.apps.example.com"))
    assert message.head.value("location") == https(proxy, b"/x", "one.apps.example.com")


def test_an_absolute_target_decides_where_to(dial: Dial, proxy: Hopward) -> None:
    message = answer(dial, get(b"http://app.example.com/x?y", UNKNOWN))
    assert message.head.value("location") == https(proxy, b"/x?y")


@pytest.mark.parametrize("host", [UNKNOWN, "example.com", "127.0.0.1", "a.b.apps.example.com"])
def test_an_unknown_host_is_404(dial: Dial, host: str) -> None:
    message = answer(dial, get(b"/", host))
    assert message.status == 404
    assert message.head.values("location") == []


@pytest.mark.parametrize("host", [HOST, UNKNOWN])
@pytest.mark.parametrize("token", [b"", b"unknown", b"../../etc/passwd", b"%2e%2e/x"])
def test_an_unknown_token_of_a_certificate_authority_is_404(
    dial: Dial, host: str, token: bytes
) -> None:
    assert answer(dial, get(TOKEN + token, host)).status == 404


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PROPFIND"])
def test_a_method_is_kept_by_the_status_308(dial: Dial, proxy: Hopward, method: bytes) -> None:
    message = answer(dial, get(b"/", HOST, method=method))
    assert message.status == 308
    assert message.head.value("location") == https(proxy, b"/")


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE"])
def test_connect_and_trace_are_405(dial: Dial, method: bytes) -> None:
    message = answer(dial, get(b"/", HOST, method=method))
    assert message.status == 405
    assert b"GET" in (message.head.value("allow") or b"")


@pytest.mark.parametrize("host", [HOST, UNKNOWN])
@pytest.mark.parametrize("target", [b"/", TOKEN + b"x"])
def test_an_answer_to_head_has_no_body(dial: Dial, host: str, target: bytes) -> None:
    client = dial()
    client.send(get(target, host, b"Connection: close", method=b"HEAD"))
    message = client.message(bodiless=True)
    assert message.head.value("content-length") is not None
    assert client.ending() == (b"", True)


def test_a_connection_carries_one_request_after_the_other(dial: Dial, proxy: Hopward) -> None:
    client = dial()
    client.send(get(b"/1", HOST) + get(b"/2", HOST))
    client.send(get(b"/3", HOST, b"Connection: close"))
    for number in (b"/1", b"/2", b"/3"):
        assert client.message().head.value("location") == https(proxy, number)
    assert client.ending() == (b"", True)


def test_a_request_of_http_1_0_ends_its_connection(dial: Dial) -> None:
    client = dial()
    client.send(get(b"/", HOST).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert client.message().status == 308
    assert client.ending() == (b"", True)


@pytest.mark.parametrize("framing", [b"Content-Length: %d", b"Transfer-Encoding: chunked"])
def test_a_body_is_never_read_as_the_next_request(dial: Dial, framing: bytes) -> None:
    body = get(b"/smuggled", HOST)
    if framing.endswith(b"chunked"):
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        framing %= len(body)
    client = dial()
    client.send(get(b"/", HOST, framing, method=b"POST") + body)
    assert client.message().status == 308
    assert b"HTTP/1.1" not in client.ending().rest


def test_a_client_that_sends_a_body_all_the_same_still_reads_where_to_go(dial: Dial) -> None:
    """A reset would take the answer from it (RFC 9112 §9.6)."""
    client = dial()
    client.send(get(b"/", HOST, b"Content-Length: 1000000", method=b"POST"))
    wait_for(lambda: select.select([client.wire.socket], [], [], 0)[0], what="the answer")
    for _ in range(10):
        client.send(bytes(100000))
    assert client.message().status == 308
    assert client.ending() == (b"", True)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: app.example.com\nA: b\r\n\r\n", 400),
        (get(b"/", HOST, b"A : b"), 400),
        (get(b"/", HOST, b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
        (get(b"/", "app.example.com/x"), 400),
        (get(b"/", UNKNOWN, b"A : b"), 400),
        (get(b"/", HOST).replace(b"HTTP/1.1", b"HTTP/3.0"), 505),
        (get(b"/", HOST, b"Transfer-Encoding: cow"), 501),
        (get(b"/" + b"x" * 2048, HOST), 414),
        (get(b"/", HOST, b"A: " + b"x" * 2048), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_a_malformed_request_is_refused_and_the_connection_closed(
    dial: Dial, request_: bytes, status: int
) -> None:
    client = dial()
    client.send(request_)
    assert client.message().status == status
    assert client.ending() == (b"", True)


def test_a_head_that_stands_still_is_408(dial: Dial) -> None:
    client = dial()
    client.send(b"GET / HTTP/1.1\r\nHost:")
    assert client.message().status == 408
    assert client.ending() == (b"", True)


def test_a_head_may_not_be_drawn_out(dial: Dial) -> None:
    client = dial()
    client.send(b"GET / HTTP/1.1\r\nHost: ")
    for _ in steadily(25, 0.04):
        client.send(b"x")
    assert client.message().status == 408


def test_a_client_that_asks_nothing_is_parted_from(dial: Dial) -> None:
    assert dial().ending() == (b"", True)


def test_a_connection_that_nobody_uses_is_closed(dial: Dial) -> None:
    client = dial()
    client.send(get(b"/", HOST))
    assert client.message().status == 308
    assert client.ending() == (b"", True)


def test_nothing_a_client_sends_gets_into_the_answers_head(dial: Dial, proxy: Hopward) -> None:
    message = answer(dial, get(b"/%0d%0aSet-Cookie:a=b", HOST))
    assert message.head.value("location") == https(proxy, b"/%0d%0aSet-Cookie:a=b")
    assert message.head.values("set-cookie") == []
