"""Where the body of a response ends, whichever way its end is told."""

from __future__ import annotations

import pytest

from tests.e2e.wire.client import HOST, Client, Dial
from tests.http_client import get
from tests.message_stream import Message
from tests.scripted_origin import OK, Call, ScriptedOrigin

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


def ask(client: Client, origin: ScriptedOrigin, request: bytes = get(b"/", HOST)) -> Call:
    """The origin's connection on which `request` has come."""
    client.send(request)
    call = origin.accept()
    call.message()
    return call


def older(*fields: bytes, method: bytes = b"GET") -> bytes:
    return get(b"/", HOST, *fields, method=method).replace(b"HTTP/1.1", b"HTTP/1.0")


def still_open(client: Client, call: Call) -> bool:
    """Whether both connections carry another exchange."""
    client.send(get(b"/again", HOST))
    call.until(b"GET /again HTTP/1.1\r\n")
    call.send(OK)
    return client.message().content == b"ok"


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
    """RFC 9112 §6.3."""
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
    """RFC 9110 §7.6.1."""
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
