"""What a client sees of a response: fields, interim responses, and where its body ends."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.conftest import HOST, Client, Dial
from tests.http_client import get
from tests.message_stream import Head, Message
from tests.programs import Hopward
from tests.scripted_origin import OK, Call, ScriptedOrigin

RULES, STRICT, AGED = "rules.example.com", "strict.example.com", "aged.example.com"
DATE = rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    rules = {"X-Set": "by the operator", "X-New": "new", "Server": None}
    return front(
        {
            HOST: listening.url,
            RULES: {"to": listening.url, "response_headers": rules},
            STRICT: {"to": listening.url, "hsts": True},
            AGED: {"to": listening.url, "hsts": 300},
        }
    )


def ask(client: Client, origin: ScriptedOrigin, request: bytes = get(b"/", HOST)) -> Call:
    """The origin's connection on which `request` has come."""
    client.send(request)
    call = origin.accept()
    call.message()
    return call


def seen(dial: Dial, origin: ScriptedOrigin, *fields: bytes, host: str = HOST) -> Head:
    """What the client sees of a response's head with `fields`."""
    client = dial(host)
    call = ask(client, origin, get(b"/", host))
    call.send(b"\r\n".join([b"HTTP/1.1 200 OK", *fields, b"Content-Length: 2", b"", b"ok"]))
    answer = client.message()
    assert answer.content == b"ok"
    return answer.head


def older(*fields: bytes, method: bytes = b"GET") -> bytes:
    return get(b"/", HOST, *fields, method=method).replace(b"HTTP/1.1", b"HTTP/1.0")


def still_open(client: Client, call: Call) -> bool:
    """Whether both connections carry another exchange."""
    client.send(get(b"/again", HOST))
    call.until(b"GET /again HTTP/1.1\r\n")
    call.send(OK)
    return client.message().content == b"ok"


# Fields.


@pytest.mark.parametrize(
    "field",
    [
        b"Connection: x-named",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"TE: trailers",
        b"Trailer: X-Sum",
        b"Upgrade: h2c",
    ],
)
def test_a_hop_by_hop_field_ends_at_the_proxy(
    dial: Dial, origin: ScriptedOrigin, field: bytes
) -> None:
    assert seen(dial, origin, field).values(field.partition(b":")[0].decode()) == []


def test_fields_that_connection_names_end_at_the_proxy(dial: Dial, origin: ScriptedOrigin) -> None:
    fields = [b"Connection: X-One", b"X-Two: 2", b"connection: x-two", b"X-One: 1", b"X-Three: 3"]
    head = seen(dial, origin, *fields)
    assert not {"x-one", "x-two", "connection"} & {*head.names}
    assert head.values("x-three") == [b"3"]


def test_connection_cannot_remove_the_length_of_a_response(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    head = seen(dial, origin, b"Connection: Content-Length, Host")
    assert head.values("content-length") == [b"2"]


def test_a_response_has_a_date_whatever_connection_names(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    head = seen(dial, origin, b"Connection: Date", b"Date: Tue, 15 Nov 1994 08:12:31 GMT")
    assert len(head.values("date")) == 1


def test_an_origin_that_closes_its_connection_leaves_the_clients_open(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    call = ask(client, origin)
    call.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    call.close()
    assert client.message().head.values("connection") == []
    ask(client, origin).send(OK)
    assert client.message().content == b"ok"


def test_fields_keep_their_order_their_spelling_and_their_lines(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    sent = [
        (b"Set-Cookie", b"a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT"),
        (b"x-A", b""),
        (b"set-cookie", b"b=2"),
        (b"Server", b"\xe4"),
        (b"X-Request-ID", b"the origin's"),
        (b"X-Forwarded-For", b"1.2.3.4"),
        (b"Set-Cookie", b"a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT"),
        (b"Strict-Transport-Security", b"max-age=1"),
    ]
    head = seen(dial, origin, *(name + b": " + value for name, value in sent))
    names = {name.lower() for name, _ in sent}
    assert [field for field in head.fields if field[0].lower() in names] == sent


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 299 Tr\xe8s  bien", b"HTTP/1.1 999 x y"],
)
def test_a_status_and_its_reason_pass_as_they_are(
    dial: Dial, origin: ScriptedOrigin, line: bytes
) -> None:
    client = dial()
    ask(client, origin).send(line + b"\r\nContent-Length: 0\r\n\r\n")
    assert client.head().line == line


def test_a_response_of_http_1_0_is_told_in_http_1_1(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    ask(client, origin).send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    answer = client.message()
    assert answer.head.line == b"HTTP/1.1 200 OK"
    assert answer.head.values("connection") == []


def test_a_date_is_added_where_there_is_none(dial: Dial, origin: ScriptedOrigin) -> None:
    (date,) = seen(dial, origin).values("date")
    assert re.fullmatch(DATE, date)


def test_a_date_that_is_there_is_kept(dial: Dial, origin: ScriptedOrigin) -> None:
    date = b"Tue, 15 Nov 1994 08:12:31 GMT"
    assert seen(dial, origin, b"date: " + date).values("date") == [date]


def test_rules_set_and_remove_fields_of_a_response(dial: Dial, origin: ScriptedOrigin) -> None:
    head = seen(dial, origin, b"x-set: its own", b"X-SET: 2", b"server: x", host=RULES)
    assert head.values("x-set") == [b"by the operator"]
    assert head.values("x-new") == [b"new"]
    assert head.values("server") == []


@pytest.mark.parametrize(("host", "age"), [(STRICT, b"max-age=31536000"), (AGED, b"max-age=300")])
def test_hsts_is_said_once_where_it_is_on(
    dial: Dial, origin: ScriptedOrigin, host: str, age: bytes
) -> None:
    head = seen(dial, origin, b"Strict-Transport-Security: max-age=1", host=host)
    assert head.values("strict-transport-security") == [age]


def test_hsts_is_not_said_where_it_is_off(dial: Dial, origin: ScriptedOrigin) -> None:
    assert seen(dial, origin).values("strict-transport-security") == []


# Interim responses (RFC 9110 §15.2).


def test_interim_responses_are_passed_on_before_the_final_one(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    call = ask(client, origin)
    call.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
    early = client.head()
    assert early.status == 103
    assert early.fields == [(b"Link", b"</a.css>; rel=preload")]
    call.send(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert [client.head().status, client.head().status] == [102, 103]
    assert client.message().content == b"ok"
    assert still_open(client, call)


def test_an_interim_response_is_never_framed(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    fields = b"Content-Length: 5\r\nConnection: X-Gone\r\nX-Gone: 1\r\nKeep-Alive: 1\r\n"
    ask(client, origin).send(b"HTTP/1.1 103 Early Hints\r\n" + fields + b"X-A: 1\r\n\r\n" + OK)
    assert client.head().fields == [(b"X-A", b"1")]
    assert client.message().content == b"ok"


def test_a_client_of_http_1_0_gets_no_interim_response(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    call = ask(client, origin, older())
    call.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert client.message().status == 200


EXPECTING = get(b"/", HOST, b"Expect: 100-continue", b"Content-Length: 5", method=b"POST")


def test_a_client_that_waits_hears_the_origins_continue(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    client.send(EXPECTING)
    call = origin.accept()
    assert call.head().values("expect") == [b"100-continue"]
    call.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.head().status == 100
    client.send(b"hello")
    assert call.exactly(5) == b"hello"
    call.send(OK)
    assert client.message().content == b"ok"
    assert still_open(client, call)


@pytest.mark.parametrize("status", [b"417 Expectation Failed", b"401 Unauthorized", b"200 OK"])
def test_a_client_that_waits_hears_the_origins_refusal(
    dial: Dial, origin: ScriptedOrigin, status: bytes
) -> None:
    client = dial()
    client.send(EXPECTING)
    call = origin.accept()
    call.head()
    call.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nno")
    answer = client.message()
    assert answer.head.line == b"HTTP/1.1 " + status
    assert answer.content == b"no"
    # nobody can tell whether what comes next is the body: RFC 9110 §10.1.1
    assert answer.head.values("connection") == [b"close"]
    assert client.ending().clean


def test_the_proxy_continues_nobody_by_itself(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    client.send(EXPECTING + b"hello")
    call = origin.accept()
    assert call.message().content == b"hello"
    call.send(OK)
    assert client.head().status == 200


# Responses without a body (RFC 9112 §6.3).

NO_BODY = [
    (b"HEAD", b"200 OK", b"Content-Length: 5"),
    (b"HEAD", b"200 OK", b"Transfer-Encoding: chunked"),
    (b"HEAD", b"200 OK", b"X-A: 1"),
    (b"HEAD", b"404 Not Found", b"Content-Length: 5"),
    (b"GET", b"204 No Content", b"X-A: 1"),
    (b"GET", b"204 No Content", b"Content-Length: 5"),
    (b"GET", b"204 No Content", b"Transfer-Encoding: chunked"),
    (b"GET", b"304 Not Modified", b"Content-Length: 5"),
    (b"GET", b"304 Not Modified", b"Transfer-Encoding: chunked"),
    (b"GET", b"304 Not Modified", b"X-A: 1"),
    (b"DELETE", b"204 No Content", b"Content-Length: 0"),
]


@pytest.mark.parametrize(("method", "status", "field"), NO_BODY)
def test_a_response_that_has_no_body_ends_with_its_head_whatever_its_fields_say(
    dial: Dial, origin: ScriptedOrigin, method: bytes, status: bytes, field: bytes
) -> None:
    client = dial()
    call = ask(client, origin, get(b"/", HOST, method=method))
    call.send(b"HTTP/1.1 " + status + b"\r\n" + field + b"\r\n\r\n")
    assert client.head().line == b"HTTP/1.1 " + status
    assert still_open(client, call)


def test_head_and_304_keep_the_length_that_a_body_would_have(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    call = ask(client, origin, get(b"/", HOST, method=b"HEAD"))
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert client.head().values("content-length") == [b"5"]
    client.send(get(b"/", HOST))
    call.head()
    call.send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n")
    assert client.head().values("content-length") == [b"7"]


def test_no_framing_stands_in_a_204(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    call = ask(client, origin)
    call.send(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert not {"transfer-encoding", "content-length"} & {*client.head().names}
    client.send(get(b"/", HOST))
    call.head()
    call.send(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
    assert not {"transfer-encoding", "content-length"} & {*client.head().names}


def test_a_body_behind_a_response_to_head_reaches_nobody(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    call = ask(client, origin, get(b"/", HOST, method=b"HEAD"))
    call.send(OK)
    assert client.head().status == 200
    call.ending()
    ask(client, origin).send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
    assert client.message().content == b"second"


# Bodies.


def answer(dial: Dial, origin: ScriptedOrigin, response: bytes, request: bytes) -> Message:
    """What the client gets of a response after which the origin closes."""
    client = dial()
    call = ask(client, origin, request)
    call.send(response)
    call.close()
    message = client.message()
    if message.head.values("connection") == [b"close"]:
        assert client.ending() == (b"", True)
    return message


def test_a_body_in_chunks_stays_in_chunks_without_extensions(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    body = b"5;x=y\r\nhello\r\n006\r\n world\r\n0;last\r\n\r\n"
    message = answer(dial, origin, CHUNKED + body, get(b"/", HOST))
    assert message.head.values("transfer-encoding") == [b"chunked"]
    assert message.content == b"hello world"


def test_trailers_reach_the_client_as_trailers_and_announced(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    call = ask(client, origin, get(b"/", HOST, b"Connection: TE", b"TE: trailers"))
    head = CHUNKED.replace(b"\r\n\r\n", b"\r\nTrailer: X-Sum\r\n\r\n")
    call.send(head + b"2\r\nok\r\n0\r\nX-Sum: 5\r\nx-sum: 6\r\n\r\n")
    message = client.message()
    assert message.trailers == [(b"X-Sum", b"5"), (b"x-sum", b"6")]
    assert message.head.values("trailer") == [b"X-Sum"]
    assert message.head.values("x-sum") == []
    assert still_open(client, call)


@pytest.mark.parametrize(
    "trailer",
    [b"Connection: close", b"Keep-Alive: 1", b"Proxy-Connection: 1", b"Upgrade: a", b"X-Named: 1"],
)
def test_what_ends_at_the_proxy_does_so_in_trailers_too(
    dial: Dial, origin: ScriptedOrigin, trailer: bytes
) -> None:
    head = CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: X-Named\r\n\r\n")
    body = b"2\r\nok\r\n0\r\nX-Before: 1\r\n" + trailer + b"\r\nX-After: 2\r\n\r\n"
    message = answer(dial, origin, head + body, get(b"/", HOST))
    assert message.trailers == [(b"X-Before", b"1"), (b"X-After", b"2")]


@pytest.mark.parametrize("fields", [[], [b"Connection: keep-alive"]])
def test_a_client_of_http_1_0_gets_chunks_as_plain_bytes_up_to_the_end(
    dial: Dial, origin: ScriptedOrigin, fields: list[bytes]
) -> None:
    body = b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
    message = answer(dial, origin, CHUNKED + body, older(*fields))
    assert not {"transfer-encoding", "content-length", "trailer"} & {*message.head.names}
    assert message.head.values("connection") in ([], [b"close"])
    assert message.content == b"hello world"


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_a_body_that_ends_with_its_connection_goes_on_in_chunks(
    dial: Dial, origin: ScriptedOrigin, version: bytes
) -> None:
    response = CLOSING.replace(b"HTTP/1.1", version) + b"hello"
    client = dial()
    call = ask(client, origin)
    call.send(response)
    call.close()
    message = client.message()
    assert message.head.values("transfer-encoding") == [b"chunked"]
    assert message.content == b"hello"
    ask(client, origin).send(OK)
    assert client.message().content == b"ok"


def test_a_client_of_http_1_0_gets_a_body_that_ends_with_the_connection(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    message = answer(dial, origin, CLOSING + b"hello", older(b"Connection: keep-alive"))
    assert not {"transfer-encoding", "content-length"} & {*message.head.names}
    assert message.content == b"hello"


def test_an_empty_body_that_ends_with_its_connection_is_a_complete_one(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    message = answer(dial, origin, CLOSING, get(b"/", HOST))
    assert message.content == b""


def test_a_body_of_a_known_length_passes_with_it(dial: Dial, origin: ScriptedOrigin) -> None:
    body = bytes(range(256)) * 4096
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    message = answer(dial, origin, response, get(b"/", HOST))
    assert message.head.values("content-length") == [b"%d" % len(body)]
    assert message.content == body


def test_bytes_behind_a_response_are_no_response_to_anybody(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    call = ask(client, origin)
    call.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
    assert client.message().content == b"ok"
    call.ending()
    ask(client, origin).send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")
    assert client.message().content == b"right"


def test_an_origin_may_split_a_response_at_every_byte(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    call = ask(client, origin)
    for octet in CHUNKED + b"3;a\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX-A: b\r\n\r\n":
        call.send(bytes([octet]))
    message = client.message()
    assert message.content == b"abc0123456789abcdef"
    assert message.trailers == [(b"X-A", b"b")]
