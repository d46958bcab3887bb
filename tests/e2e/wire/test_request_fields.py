"""What an origin sees of a request's fields: the client's own, and what the proxy says of it."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Dial
from tests.http_client import get
from tests.message_stream import Head, Message
from tests.programs import Hopward
from tests.scripted_origin import OK, ScriptedOrigin

RULES, UPSTREAM = "rules.example.com", "upstream.example.com"
CHUNKED = b"Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    rules = {"X-Set": "by the operator", "X-New": "new", "X-Gone": None, "authorization": None}
    return front(
        {
            HOST: listening.url,
            RULES: {"to": listening.url, "request_headers": rules},
            UPSTREAM: {"to": listening.url, "host_header": "upstream"},
        }
    )


def received(dial: Dial, origin: ScriptedOrigin, *fields: bytes, host: str = HOST) -> Head:
    """The head in which a request with `fields` reaches the origin."""
    return passed_on(dial, origin, get(b"/", host, *fields), host).head


def passed_on(dial: Dial, origin: ScriptedOrigin, request: bytes, host: str = HOST) -> Message:
    """What reaches the origin of `request`, answered."""
    client = dial(host)
    client.send(request)
    call = origin.accept()
    message = call.message()
    call.send(OK)
    assert client.message().content == b"ok"
    call.hang_up()
    return message


# Hop-by-hop fields (RFC 9110 §7.6.1).


@pytest.mark.parametrize(
    "field",
    [
        b"Connection: close",
        b"connection: Keep-Alive",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"TE: gzip, deflate;q=0.5",
        b"Trailer: X-Sum",
        b"Upgrade: websocket",
        b"Upgrade: h2c",
    ],
)
def test_a_hop_by_hop_field_ends_at_the_proxy(
    dial: Dial, origin: ScriptedOrigin, field: bytes
) -> None:
    name = field.partition(b":")[0].decode()
    assert received(dial, origin, field).values(name) == []


@pytest.mark.parametrize(
    "connection",
    [
        [b"Connection: X-One, x-two"],
        [b"Connection: x-one", b"Connection: X-TWO"],
        [b"Connection: ,X-One ,, \t, X-Two,close"],
        [b"X-One: first", b"Connection: x-one,x-two"],
    ],
)
def test_fields_that_connection_names_end_at_the_proxy(
    dial: Dial, origin: ScriptedOrigin, connection: list[bytes]
) -> None:
    fields = [*connection, b"X-One: 1", b"X-Two: 2", b"X-Three: 3", b"X-one: 4"]
    head = received(dial, origin, *fields)
    assert not {"x-one", "x-two", "connection"} & {*head.names}
    assert head.values("x-three") == [b"3"]


@pytest.mark.parametrize("named", [b"Host", b"Content-Length", b"X-Forwarded-For, Via"])
def test_connection_cannot_remove_what_routes_frames_or_vouches(
    dial: Dial, origin: ScriptedOrigin, named: bytes
) -> None:
    fields = [b"Connection: " + named, b"Content-Length: 3"]
    message = passed_on(dial, origin, get(b"/", HOST, *fields, method=b"POST") + b"abc")
    assert message.content == b"abc"
    assert message.head.values("host") == [HOST.encode()]
    assert message.head.values("x-forwarded-for") == [b"127.0.0.1"]
    assert message.head.values("via") == [b"1.1 hopward"]


def test_a_wish_for_trailers_is_passed_on_as_the_proxys_own(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    head = received(dial, origin, b"Connection: TE", b"TE: deflate, Trailers;q=1, trailers")
    assert head.values("te") == [b"trailers"]
    assert [value.lower() for value in head.values("connection")] == [b"te"]


@pytest.mark.parametrize("fields", [[b"TE: trailers"], [b"Connection: X-Te", b"TE: trailers"]])
def test_te_never_goes_on_without_connection_te(
    dial: Dial, origin: ScriptedOrigin, fields: list[bytes]
) -> None:
    head = received(dial, origin, *fields)
    options = [value.lower() for value in head.values("connection")]
    assert (head.values("te"), options) in [([], []), ([b"trailers"], [b"te"])]


# Framing towards the origin.


def test_a_body_in_chunks_goes_on_in_chunks_without_its_extensions(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    body = b'3;a=b\r\nabc\r\n00A ; c="d"\r\n0123456789\r\n000;e\r\n\r\n'
    message = passed_on(dial, origin, get(b"/", HOST, CHUNKED, method=b"POST") + body)
    assert message.head.values("transfer-encoding") == [b"chunked"]
    assert message.head.values("content-length") == []
    assert message.content == b"abc0123456789"


def test_trailers_reach_the_origin_as_trailers_and_announced(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    fields = [CHUNKED, b"Trailer: X-Sum"]
    body = b"1\r\na\r\n0\r\nX-Sum: 5\r\nX-sum: 6\r\n\r\n"
    message = passed_on(dial, origin, get(b"/", HOST, *fields, method=b"POST") + body)
    assert message.trailers == [(b"X-Sum", b"5"), (b"X-sum", b"6")]
    assert message.head.values("trailer") == [b"X-Sum"]
    assert message.head.values("x-sum") == []


@pytest.mark.parametrize(
    "trailer",
    [
        b"Connection: close",
        b"Keep-Alive: timeout=5",
        b"TE: trailers",
        b"Upgrade: websocket",
        b"X-Named: by the head's Connection",
        b"X-Forwarded-For: 1.2.3.4",
        b"Forwarded: for=1.2.3.4",
        b"X_Real_IP: 1.2.3.4",
        b"X-Request-ID: mine",
    ],
)
def test_what_ends_at_the_proxy_does_so_in_trailers_too(
    dial: Dial, origin: ScriptedOrigin, trailer: bytes
) -> None:
    body = b"1\r\na\r\n0\r\nX-Before: 1\r\n" + trailer + b"\r\nX-After: 2\r\n\r\n"
    head = get(b"/", HOST, CHUNKED, b"Connection: X-Named", method=b"POST")
    message = passed_on(dial, origin, head + body)
    assert message.trailers == [(b"X-Before", b"1"), (b"X-After", b"2")]


def test_a_length_goes_on_as_it_is(dial: Dial, origin: ScriptedOrigin) -> None:
    request = get(b"/", HOST, b"Content-Length: 0", method=b"POST")
    assert passed_on(dial, origin, request).head.values("content-length") == [b"0"]


def test_a_request_without_a_body_gets_no_framing(dial: Dial, origin: ScriptedOrigin) -> None:
    head = received(dial, origin)
    assert head.values("content-length") == []
    assert head.values("transfer-encoding") == []


def test_expect_goes_on_from_http_1_1_only(dial: Dial, origin: ScriptedOrigin) -> None:
    request = get(b"/", HOST, b"Expect: 100-continue", b"Content-Length: 1", method=b"POST")
    assert passed_on(dial, origin, request + b"a").head.values("expect") == [b"100-continue"]
    older = request.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert passed_on(dial, origin, older + b"a").head.values("expect") == []


# All other fields.


def test_fields_keep_their_order_their_spelling_and_their_lines(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    sent = [
        (b"Cookie", b"a=1; b=2"),
        (b"X-b", b"1, 2"),
        (b"x-A", b""),
        (b"X-B", b"3"),
        (b"cookie", b"c=3"),
        (b"X-b", b"1, 2"),
        (b"Accept", b"*/*;q=0.1\t, \xfftext"),
        (b"User-Agent", b""),
        (b"!#$%&'*+-.^_`|~9", b"every token is a name"),
        (b"Authorization", b"Bearer x"),
    ]
    head = received(dial, origin, *(name + b": " + value for name, value in sent))
    names = {name.lower() for name, _ in sent}
    assert [field for field in head.fields if field[0].lower() in names] == sent


def test_blanks_around_a_value_are_no_part_of_it(dial: Dial, origin: ScriptedOrigin) -> None:
    head = received(dial, origin, b"X-A:no blank", b"X-B: \t two \t ends \t ")
    assert head.values("x-a") == [b"no blank"]
    assert head.values("x-b") == [b"two \t ends"]


# The operator's rules.


def test_a_rule_sets_a_field_whatever_the_client_sent(dial: Dial, origin: ScriptedOrigin) -> None:
    head = received(dial, origin, b"x-set: the client's", b"X-SET: another", host=RULES)
    assert head.values("x-set") == [b"by the operator"]
    assert head.values("x-new") == [b"new"]


def test_a_rule_of_null_removes_a_field(dial: Dial, origin: ScriptedOrigin) -> None:
    head = received(dial, origin, b"x-gone: 1", b"Authorization: Basic eA==", host=RULES)
    assert head.values("x-gone") == []
    assert head.values("authorization") == []


def test_the_origins_own_host_is_used_where_it_is_asked_for(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    head = received(dial, origin, host=UPSTREAM)
    assert head.values("host") == [b"127.0.0.1:%d" % origin.port]
    assert head.values("x-forwarded-host") == [UPSTREAM.encode()]
