"""What a client sees of a response: fields, interim responses, and where its body ends."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client, Dial
from tests.http_client import exchange, get
from tests.message_stream import Head
from tests.programs import Hopward
from tests.scripted_origin import OK, Call, ScriptedOrigin
from tests.tls_client import PlainClient

RULES, STRICT, AGED = "rules.example.com", "strict.example.com", "aged.example.com"
DATE = rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"


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
    """RFC 9110 §6.6.1."""
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


@pytest.mark.parametrize(
    ("asking", "status"),
    [
        (get(b"/", STRICT, method=b"TRACE"), 405),
        (get(b"/", STRICT, b"Max-Forwards: 0", method=b"OPTIONS"), 200),
        (b"GET / HTTP/1.1\r\nHost : malformed\r\n\r\n", 400),
    ],
)
def test_hsts_is_said_in_the_proxys_own_answers_too(
    dial: Dial, origin: ScriptedOrigin, asking: bytes, status: int
) -> None:
    """RFC 6797 §7.1: in each response over TLS."""
    client = dial(STRICT)
    client.send(asking)
    answer = client.message()
    assert answer.status == status
    assert answer.head.values("strict-transport-security") == [b"max-age=31536000"]


def test_hsts_is_said_where_the_origin_fails(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial(STRICT)
    ask(client, origin, get(b"/", STRICT, method=b"POST")).hang_up()
    answer = client.message()
    assert answer.status == 502
    assert answer.head.values("strict-transport-security") == [b"max-age=31536000"]


def test_hsts_is_not_said_for_another_site(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial(STRICT)
    client.send(get(b"/", HOST))
    answer = client.message()
    assert answer.status == 421
    assert answer.head.values("strict-transport-security") == []


def test_hsts_is_not_said_without_tls(proxy: Hopward) -> None:
    """RFC 6797 §7.2."""
    assert proxy.http is not None
    with PlainClient(proxy.http) as client:
        assert exchange(client, get(b"/", STRICT)).field("strict-transport-security") is None
        client.send(b"GET / HTTP/1.1\r\nHost : malformed\r\n\r\n")
        assert b"strict-transport" not in client.recv_all().lower()


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
    """RFC 9110 §10.1.1."""
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
    """RFC 9110 §10.1.1."""
    client = dial()
    client.send(EXPECTING + b"hello")
    call = origin.accept()
    assert call.message().content == b"hello"
    call.send(OK)
    assert client.head().status == 200
