"""A request is repeated once, where a kept connection proved stale and nobody can be harmed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.wire.client import HOST, Client, Dial
from tests.http_client import get
from tests.message_stream import Head
from tests.scripted_origin import OK, Call, ScriptedOrigin

WRONG = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"


def close(call: Call) -> None:
    call.close()


def reset(call: Call) -> None:
    call.reset()


ENDS = [close, reset]
End = Callable[[Call], None]


def kept(dial: Dial, origin: ScriptedOrigin) -> tuple[Client, Call]:
    """A client, and the connection that is kept after its first exchange."""
    client = dial()
    client.send(get(b"/first", HOST))
    call = origin.accept()
    call.head()
    call.send(OK)
    assert client.message().content == b"ok"
    return client, call


def sent_on(call: Call, client: Client, request: bytes) -> Head:
    """The head of `request` as it comes on the kept connection."""
    client.send(request)
    return call.head()


def answered(origin: ScriptedOrigin, client: Client, *, bodiless: bool = False) -> Head:
    """The head of the repeated request, which is answered."""
    call = origin.accept()
    head = call.head()
    call.send(OK.removesuffix(b"ok") if bodiless else OK)
    assert client.message(bodiless=bodiless).status == 200
    return head


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"])
def test_an_idempotent_request_on_a_stale_connection_is_sent_once_more_on_a_fresh_one(
    dial: Dial, origin: ScriptedOrigin, method: bytes, end: End
) -> None:
    client, call = kept(dial, origin)
    first = sent_on(call, client, get(b"/x", HOST, method=method))
    end(call)
    assert answered(origin, client, bodiless=method == b"HEAD") == first
    assert not origin.called


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"PROPFIND", b"get"])
def test_no_other_request_is_ever_repeated(
    dial: Dial, origin: ScriptedOrigin, method: bytes, end: End
) -> None:
    """RFC 9110 §9.2.2."""
    client, _ = kept(dial, origin)
    client.send(get(b"/x", HOST, method=method))
    # such a request may as well be given a fresh connection at once
    used = origin.heard()
    used.head()
    end(used)
    assert client.message().status == 502
    assert not origin.called


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("sent", [b"H", b"HTTP/1.1 103 Early Hints\r\n\r\n", OK[:-1]])
def test_nothing_is_repeated_after_the_first_byte_of_a_response(
    dial: Dial, origin: ScriptedOrigin, sent: bytes, end: End
) -> None:
    """RFC 9110 §9.2.2."""
    client, call = kept(dial, origin)
    sent_on(call, client, get(b"/x", HOST))
    call.send(sent)
    end(call)
    rest, _ = client.ending() if sent == OK[:-1] else (client.until(b" 502 "), False)
    assert rest
    assert not origin.called


@pytest.mark.parametrize("end", ENDS)
def test_a_repeated_request_is_not_repeated_again(
    dial: Dial, origin: ScriptedOrigin, end: End
) -> None:
    client, call = kept(dial, origin)
    sent_on(call, client, get(b"/x", HOST))
    end(call)
    again = origin.accept()
    again.head()
    end(again)
    assert client.message().status == 502
    assert not origin.called


@pytest.mark.parametrize("end", ENDS)
def test_a_request_on_a_fresh_connection_is_never_repeated(
    dial: Dial, origin: ScriptedOrigin, end: End
) -> None:
    client = dial()
    client.send(get(b"/x", HOST))
    call = origin.accept()
    call.head()
    end(call)
    assert client.message().status == 502
    assert not origin.called


def test_the_body_is_repeated_too_and_goes_on_where_it_was(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = kept(dial, origin)
    request = get(b"/x", HOST, b"Content-Length: 11", method=b"PUT")
    sent_on(call, client, request + b"first")
    assert call.exactly(5) == b"first"
    call.close()
    again = origin.accept()
    assert again.head().line == b"PUT /x HTTP/1.1"
    assert again.exactly(5) == b"first"
    client.send(b"second")
    assert again.exactly(6) == b"second"
    again.send(OK)
    assert client.message().content == b"ok"


def test_a_connection_that_closed_while_it_was_kept_is_not_used(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = kept(dial, origin)
    call.hang_up()
    client.send(get(b"/x", HOST, method=b"POST"))
    assert answered(origin, client).line == b"POST /x HTTP/1.1"


def test_bytes_on_a_connection_that_nobody_uses_are_no_response(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    """RFC 9112 §9.2."""
    client, call = kept(dial, origin)
    call.send(WRONG)
    call.ending()
    client.send(get(b"/x", HOST))
    assert answered(origin, client).line == b"GET /x HTTP/1.1"


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_a_connection_whose_origin_does_not_keep_it_is_not_kept(
    dial: Dial, origin: ScriptedOrigin, response: bytes
) -> None:
    client = dial()
    client.send(get(b"/1", HOST))
    call = origin.accept()
    call.head()
    call.send(response)
    assert client.message().content == b"ok"
    assert call.ending().rest == b""
    client.send(get(b"/2", HOST, method=b"POST"))
    answered(origin, client)


def test_a_connection_that_an_origin_of_http_1_0_keeps_is_used_again(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    client.send(get(b"/1", HOST))
    call = origin.accept()
    call.head()
    call.send(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
    assert client.message().content == b"ok"
    assert sent_on(call, client, get(b"/2", HOST)).line == b"GET /2 HTTP/1.1"


def test_another_clients_request_may_use_a_kept_connection(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    _, call = kept(dial, origin)
    other = dial()
    assert sent_on(call, other, get(b"/other", HOST)).line == b"GET /other HTTP/1.1"
    call.send(OK)
    assert other.message().content == b"ok"
