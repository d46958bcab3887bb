"""Which requests are served, by which origin, in which order, and what of them is never touched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client, Dial
from tests.http_client import get
from tests.message_stream import Head, Message
from tests.programs import Hopward
from tests.scripted_origin import OK, Call, ScriptedOrigin

OTHER, WILDCARD = "other.example.com", "*.apps.example.com"
UNKNOWN = "unknown.example.com"


@pytest.fixture(scope="module")
def live() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        yield origin


@pytest.fixture(scope="module")
def deep() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(
    listening: ScriptedOrigin, live: ScriptedOrigin, deep: ScriptedOrigin, front: Front
) -> Hopward:
    routes = {"/live/": live.url, "/live/deep/": deep.url}
    site = {"to": listening.url, "routes": routes}
    return front({HOST: site, OTHER: listening.url, WILDCARD: listening.url})


class Served(NamedTuple):
    """A connection of the origin, and the head of the first request that came on it."""

    call: Call
    head: Head


def answered(client: Client, origin: ScriptedOrigin, request: bytes) -> Served:
    """One request that `origin` answers with `OK` on a new connection."""
    client.send(request)
    served = Served(call := origin.accept(), call.head())
    call.send(OK)
    assert client.message().content == b"ok"
    return served


def refused(client: Client, origin: ScriptedOrigin, request: bytes) -> Message:
    """The proxy's own answer to a request that no origin sees."""
    client.send(request)
    message = client.message()
    assert not origin.called
    return message


def end_is_clean(client: Client) -> bool:
    return client.ending() == (b"", True)


# Hosts.


@pytest.mark.parametrize(
    "written", [HOST, HOST.upper(), HOST + ".", HOST + ":443", HOST + ":8443", HOST + ".:443"]
)
def test_case_trailing_dot_and_port_of_a_host_do_not_matter_and_are_preserved(
    dial: Dial, origin: ScriptedOrigin, written: str
) -> None:
    served = answered(dial(), origin, get(b"/", written))
    assert served.head.values("host") == [written.encode()]


@pytest.mark.parametrize("name", ["one.apps.example.com", "TWO.apps.example.com"])
def test_a_wildcard_serves_every_name_of_one_more_label(
    dial: Dial, origin: ScriptedOrigin, name: str
) -> None:
    assert answered(dial(name), origin, get(b"/", name)).head.values("host") == [name.encode()]


@pytest.mark.parametrize(
    "host", [UNKNOWN, "example.com", "x." + HOST, "apps.example.com", "a.b.apps.example.com", "::1"]
)
def test_an_unknown_host_is_404_and_no_origin_hears_of_it(
    dial: Dial, origin: ScriptedOrigin, host: str
) -> None:
    host = f"[{host}]" if ":" in host else host
    assert refused(dial(), origin, get(b"/", host)).status == 404


def test_a_host_of_another_site_than_the_connections_is_421(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    assert refused(dial(), origin, get(b"/", OTHER)).status == 421


def test_two_names_of_one_wildcard_are_one_site(dial: Dial, origin: ScriptedOrigin) -> None:
    answered(dial("one.apps.example.com"), origin, get(b"/", "two.apps.example.com"))


def test_the_connection_goes_on_after_a_host_that_was_refused(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    assert refused(client, origin, get(b"/", UNKNOWN)).status == 404
    assert refused(client, origin, get(b"/", OTHER)).status == 421
    answered(client, origin, get(b"/", HOST))


def test_an_error_of_the_proxy_is_a_small_text_that_names_the_requests_id(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    message = refused(dial(), origin, get(b"/", UNKNOWN))
    assert (message.head.value("content-type") or b"").startswith(b"text/plain")
    assert b"request id: " in message.content
    assert len(message.content) < 500
    assert str(origin.port).encode() not in message.content


def test_the_proxys_own_answer_to_head_has_no_body(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    client.send(get(b"/", UNKNOWN, method=b"HEAD") + get(b"/", OTHER, method=b"HEAD"))
    assert client.message(bodiless=True).status == 404
    assert client.message(bodiless=True).status == 421


# Paths.


@pytest.mark.parametrize("target", [b"/live/x", b"/live/", b"/live/deepest", b"/live/?/live/deep/"])
def test_a_route_serves_what_begins_with_its_prefix(
    dial: Dial, origin: ScriptedOrigin, live: ScriptedOrigin, target: bytes
) -> None:
    answered(dial(), live, get(target, HOST)).call.hang_up()


def test_the_longest_prefix_wins(dial: Dial, origin: ScriptedOrigin, deep: ScriptedOrigin) -> None:
    answered(dial(), deep, get(b"/live/deep/x", HOST)).call.hang_up()


@pytest.mark.parametrize("target", [b"/", b"/live", b"/Live/", b"/x/live/", b"/?/live/"])
def test_what_no_prefix_begins_goes_to_the_sites_own_origin(
    dial: Dial, origin: ScriptedOrigin, target: bytes
) -> None:
    answered(dial(), origin, get(target, HOST))


@pytest.mark.parametrize(
    "target",
    [
        b"/?a[]=1&b={x|y}^`~",
        b"/[]{}|^`",
        b"/%zz%",
        b"/%2e%2E/%2f/%41",
        b"/announce?info_hash=%00%FF%a0%Aa&peer_id=-qB4500-!'()*",
        b"//double//slash/../.././x",
        b'/a\\b"c<d>e',
        b"/?",
        b"/;p=1?q=?&&==&;",
    ],
)
def test_the_bytes_of_a_target_are_never_touched(
    dial: Dial, origin: ScriptedOrigin, target: bytes
) -> None:
    served = answered(dial(), origin, get(target, HOST))
    assert served.head.line == b"GET " + target + b" HTTP/1.1"


@pytest.mark.parametrize(
    "method", [b"GET", b"POST", b"DELETE", b"PROPFIND", b"get", b"M-SEARCH", b"X!#$%&'*+-.^_`|~"]
)
def test_a_method_passes_as_it_is_spelled(
    dial: Dial, origin: ScriptedOrigin, method: bytes
) -> None:
    served = answered(dial(), origin, get(b"/", HOST, method=method))
    assert served.head.line == method + b" / HTTP/1.1"


# Other forms of a target (RFC 9112 §3.2).


@pytest.mark.parametrize(
    ("absolute", "origin_form"),
    [
        (b"https://app.example.com/a?b", b"/a?b"),
        (b"http://APP.example.com:8080/a", b"/a"),
        (b"https://app.example.com", b"/"),
        (b"https://app.example.com?q", b"/?q"),
        (b"HTTPS://app.example.com/%zz[", b"/%zz["),
    ],
)
def test_an_absolute_target_goes_on_in_origin_form(
    dial: Dial, origin: ScriptedOrigin, absolute: bytes, origin_form: bytes
) -> None:
    head = answered(dial(), origin, get(absolute, HOST)).head
    assert head.line == b"GET " + origin_form + b" HTTP/1.1"


def test_the_host_of_an_absolute_target_replaces_the_field(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    head = answered(dial(), origin, get(b"https://App.example.com:99/", UNKNOWN)).head
    assert head.values("host") == [b"App.example.com:99"]
    assert head.values("x-forwarded-host") == [b"App.example.com:99"]


def test_an_absolute_target_of_an_unknown_host_is_404_whatever_the_field_says(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    assert refused(dial(), origin, get(b"https://unknown.example.com/", HOST)).status == 404


@pytest.mark.parametrize("target", [b"*", b"https://app.example.com"])
def test_options_of_the_whole_server_goes_on_as_an_asterisk(
    dial: Dial, origin: ScriptedOrigin, target: bytes
) -> None:
    served = answered(dial(), origin, get(target, HOST, method=b"OPTIONS"))
    assert served.head.line == b"OPTIONS * HTTP/1.1"


def test_options_with_no_forwards_left_is_answered_by_the_proxy(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    message = refused(client, origin, get(b"/", HOST, b"Max-Forwards: 0", method=b"OPTIONS"))
    assert message.status == 200
    answered(client, origin, get(b"/", HOST))


@pytest.mark.parametrize("written", [b"00", b"000"])
def test_no_forwards_left_may_be_written_with_more_zeros(
    dial: Dial, origin: ScriptedOrigin, written: bytes
) -> None:
    request = get(b"/", HOST, b"Max-Forwards: " + written, method=b"OPTIONS")
    assert refused(dial(), origin, request).status == 200


@pytest.mark.parametrize(("left", "less"), [(b"1", b"0"), (b"10", b"9")])
def test_options_goes_on_with_one_forward_less(
    dial: Dial, origin: ScriptedOrigin, left: bytes, less: bytes
) -> None:
    served = answered(dial(), origin, get(b"/", HOST, b"Max-Forwards: " + left, method=b"OPTIONS"))
    assert served.head.values("max-forwards") == [less]


def test_max_forwards_means_nothing_to_other_methods(dial: Dial, origin: ScriptedOrigin) -> None:
    served = answered(dial(), origin, get(b"/", HOST, b"Max-Forwards: 0"))
    assert served.head.values("max-forwards") == [b"0"]


@pytest.mark.parametrize(
    ("method", "target"),
    [(b"CONNECT", b"app.example.com:443"), (b"CONNECT", b"/"), (b"TRACE", b"/")],
)
def test_connect_and_trace_are_405_and_the_methods_allowed_are_told(
    dial: Dial, origin: ScriptedOrigin, method: bytes, target: bytes
) -> None:
    message = refused(dial(), origin, get(target, HOST, method=method))
    assert message.status == 405
    allowed = (message.head.value("allow") or b"").split(b", ")
    assert b"GET" in allowed
    assert method not in allowed


# One connection, several requests (RFC 9112 §9.3).


def test_a_connection_carries_one_request_after_the_other(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    call, _ = answered(client, origin, get(b"/0", HOST))
    for target in (b"/1", b"/2"):
        client.send(get(target, HOST))
        assert call.head().line == b"GET " + target + b" HTTP/1.1"
        call.send(OK)
        assert client.message().content == b"ok"


def test_pipelined_requests_are_answered_in_order(dial: Dial, origin: ScriptedOrigin) -> None:
    """RFC 9112 §9.3.2."""
    client = dial()
    targets = [b"/%d" % number for number in range(50)]
    client.send(b"".join(get(target, HOST) for target in targets))
    call = origin.accept()
    for target in targets:
        assert call.head().line == b"GET " + target + b" HTTP/1.1"
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(target) + target)
    assert [client.message().content for _ in targets] == targets


def test_pipelined_requests_with_bodies_are_told_apart(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    sized = get(b"/1", HOST, b"Content-Length: 4", method=b"PUT") + b"GET "
    chunked = get(b"/2", HOST, b"Transfer-Encoding: chunked", method=b"PUT")
    client.send(sized + chunked + b"4\r\nGET \r\n0\r\n\r\n" + get(b"/3", HOST))
    call = origin.accept()
    for number in (b"1", b"2", b"3"):
        request = call.message()
        assert request.head.line.split(b" ")[1] == b"/" + number
        assert request.content == (b"" if number == b"3" else b"GET ")
        call.send(OK)
        assert client.message().content == b"ok"


def test_errors_keep_their_place_among_pipelined_answers(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    client.send(get(b"/", HOST) + get(b"/", UNKNOWN) + get(b"/", HOST))
    call = origin.accept()
    call.head()
    call.send(OK)
    call.head()
    call.send(OK)
    assert [client.message().status for _ in range(3)] == [200, 404, 200]


def test_nothing_behind_a_request_that_closes_is_served(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    client.send(get(b"/1", HOST, b"Connection: close") + get(b"/2", HOST))
    call = origin.accept()
    call.head()
    call.send(OK)
    assert client.message().head.values("connection") == [b"close"]
    assert end_is_clean(client)
    assert call.silent() or call.ending().rest == b""
    assert not origin.called


@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n\r\n"])
def test_empty_lines_before_a_request_are_passed_over(
    dial: Dial, origin: ScriptedOrigin, blank: bytes
) -> None:
    client = dial()
    call, head = answered(client, origin, blank + get(b"/1", HOST))
    client.send(blank + get(b"/2", HOST))
    assert head.line == b"GET /1 HTTP/1.1"
    assert call.head().line == b"GET /2 HTTP/1.1"


def test_a_request_may_come_byte_by_byte(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    request = get(b"/", HOST, b"Transfer-Encoding: chunked", method=b"PUT")
    for octet in request + b"5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n":
        client.send(bytes([octet]))
    received = origin.accept().message()
    assert received.content == b"hello"
    assert received.trailers == [(b"A", b"b")]


# HTTP/1.0.


def older(target: bytes, *fields: bytes) -> bytes:
    return get(target, HOST, *fields).replace(b"HTTP/1.1", b"HTTP/1.0")


def test_a_request_of_http_1_0_ends_its_connection(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    _, head = answered(client, origin, older(b"/"))
    assert end_is_clean(client)
    assert head.line == b"GET / HTTP/1.1"
    assert head.values("via") == [b"1.0 hopward"]


def test_a_client_of_http_1_0_may_keep_its_connection(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    client.send(older(b"/1", b"Connection: Keep-Alive"))
    call = origin.accept()
    call.head()
    call.send(OK)
    assert client.message().head.values("connection") == [b"keep-alive"]
    client.send(older(b"/2"))
    call.until(b"GET /2 HTTP/1.1\r\n")
    call.send(OK)
    assert client.message().head.values("connection") != [b"keep-alive"]
    assert end_is_clean(client)


# Bodies that nobody reads (RFC 9112 §9.3).


@pytest.mark.parametrize("framing", [b"Content-Length: %d", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize(("method", "host"), [(b"POST", "unknown.example.com"), (b"TRACE", HOST)])
def test_the_body_of_a_request_that_is_refused_is_never_read_as_the_next_one(
    dial: Dial, origin: ScriptedOrigin, method: bytes, host: str, framing: bytes
) -> None:
    """RFC 9112 §9.3."""
    hidden = get(b"/hidden", HOST)
    if b"%d" in framing:
        framing, body = framing % len(hidden), hidden
    else:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
    client = dial()
    client.send(get(b"/", host, framing, method=method) + body)
    answer = client.message()
    assert answer.status in (404, 405)
    assert answer.head.values("connection") == [b"close"]
    assert client.ending() == (b"", True)
    assert not origin.called
