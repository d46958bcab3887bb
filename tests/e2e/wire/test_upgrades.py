"""Which upgrades are asked of an origin, and what its answer to one may be."""

from __future__ import annotations

import pytest

from tests.e2e.wire.client import HOST, Dial
from tests.e2e.wire.upgrading import asked, carries, switching, upgrade
from tests.http_client import get
from tests.scripted_origin import OK, ScriptedOrigin

# Asking.


@pytest.mark.parametrize(
    "connection",
    [
        b"Connection: Upgrade",
        b"Connection: upgrade",
        b"Connection: keep-alive, Upgrade",
        b"Connection: keep-alive\r\nConnection: upgrade",
        b"Connection: Upgrade, X-Own\r\nX-Own: 1",
    ],
)
@pytest.mark.parametrize("protocol", [b"websocket", b"WebSocket", b"custom/1", b"a, b/2"])
def test_an_upgrade_is_asked_of_the_origin_whatever_its_protocol(
    dial: Dial, origin: ScriptedOrigin, protocol: bytes, connection: bytes
) -> None:
    client = dial()
    client.send(upgrade(protocol, connection=connection))
    call = origin.accept()
    head = call.head()
    assert head.values("upgrade") == [protocol]
    assert [value.lower() for value in head.values("connection")] == [b"upgrade"]
    assert head.values("x-own") == []
    call.send(OK)
    client.message()


def test_the_fields_of_a_websockets_handshake_pass_both_ways(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    wanted = [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13"]
    wanted += [b"Sec-WebSocket-Extensions: permessage-deflate", b"Origin: https://app.example.com"]
    client = dial()
    client.send(upgrade(b"websocket", *wanted))
    call = origin.accept()
    head = call.head()
    assert [name + b": " + value for name, value in head.fields if name + b": " + value in wanted]
    assert head.values("sec-websocket-key") == [b"dGhlIHNhbXBsZSBub25jZQ=="]
    assert head.values("origin") == [b"https://app.example.com"]
    call.send(switching(b"websocket", b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
    answer = client.head()
    assert answer.line == b"HTTP/1.1 101 Switching Protocols"
    assert answer.values("sec-websocket-accept") == [b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
    assert answer.values("upgrade") == [b"websocket"]
    assert [value.lower() for value in answer.values("connection")] == [b"upgrade"]


def not_asked(dial: Dial, origin: ScriptedOrigin, request: bytes) -> list[str]:
    """The names of the fields in which a request reaches an origin that answers it plainly."""
    client = dial()
    client.send(request)
    call = origin.accept()
    head = call.head()
    call.send(OK)
    assert client.message().content == b"ok"
    assert head.values("connection") == []
    return head.names


@pytest.mark.parametrize("name", [b"h2c", b"H2C", b"h2c, H2c"])
def test_h2c_is_never_asked_for(dial: Dial, origin: ScriptedOrigin, name: bytes) -> None:
    connection = b"Connection: Upgrade, HTTP2-Settings"
    request = upgrade(name, b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", connection=connection)
    names = not_asked(dial, origin, request)
    assert "upgrade" not in names
    assert "http2-settings" not in names


def test_h2c_is_left_out_of_a_list(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    client.send(upgrade(b"h2c, custom/1"))
    call = origin.accept()
    assert call.head().values("upgrade") == [b"custom/1"]
    call.send(switching(b"custom/1"))
    assert client.head().status == 101
    assert carries(client, call)


def test_an_upgrade_that_connection_does_not_name_is_not_asked_for(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    request = upgrade(b"websocket", connection=b"Connection: keep-alive")
    assert "upgrade" not in not_asked(dial, origin, request)


def test_an_upgrade_from_http_1_0_is_ignored(dial: Dial, origin: ScriptedOrigin) -> None:
    request = upgrade(b"websocket").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert "upgrade" not in not_asked(dial, origin, request)


# Answers.


NOT_ASKED = {
    "nothing was asked": (get(b"/", HOST), b"websocket"),
    "another version": (upgrade(b"custom/1"), b"custom/2"),
    "another protocol": (upgrade(b"custom/1"), b"websocket"),
    "one more protocol": (upgrade(b"custom/1"), b"custom/1, websocket"),
    "an empty name": (upgrade(b"custom/1"), b""),
    "h2c, which never goes on": (upgrade(b"h2c"), b"h2c"),
    "h2c from a list": (upgrade(b"h2c, custom/1"), b"h2c"),
    "HTTP/1.0": (upgrade(b"websocket").replace(b"HTTP/1.1", b"HTTP/1.0"), b"websocket"),
    "not named": (upgrade(b"websocket", connection=b"Connection: close"), b"websocket"),
}


@pytest.mark.parametrize(("request_", "granted"), NOT_ASKED.values(), ids=list(NOT_ASKED))
def test_a_switch_to_a_protocol_not_asked_for_is_502(
    dial: Dial, origin: ScriptedOrigin, request_: bytes, granted: bytes
) -> None:
    client, call = asked(dial, origin, request_)
    call.send(switching(granted) + b"no HTTP from here on")
    assert client.message().status == 502
    call.ending()


def test_a_101_that_names_no_protocol_is_502(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, upgrade(b"custom/1"))
    call.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert client.message().status == 502


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        b"HTTP/1.1 426 Upgrade Required\r\n"
        b"Upgrade: other/1\r\nConnection: Upgrade\r\nContent-Length: 4\r\n\r\nbody",
    ],
)
def test_an_upgrade_that_is_refused_is_an_exchange_like_any_other(
    dial: Dial, origin: ScriptedOrigin, answer: bytes
) -> None:
    client, call = asked(dial, origin, upgrade(b"websocket") + get(b"/next", HOST))
    call.send(answer)
    refusal = client.message()
    assert refusal.head.line == answer.partition(b"\r\n")[0]
    assert refusal.content == b"body"
    assert call.head().line == b"GET /next HTTP/1.1"
    call.send(OK)
    assert client.message().content == b"ok"


def test_interim_responses_may_precede_the_switch(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, upgrade(b"custom/1"))
    call.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + switching(b"custom/1"))
    assert [client.head().status, client.head().status] == [103, 101]
    assert carries(client, call)


def test_one_of_several_protocols_may_be_granted(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, upgrade(b"a/1, Custom/1"))
    call.send(switching(b"custom/1"))
    assert client.head().values("upgrade") == [b"custom/1"]
    assert carries(client, call)


def test_a_request_with_a_body_may_upgrade(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    request = upgrade(b"custom/1", b"Content-Length: 4").replace(b"GET", b"POST", 1)
    client.send(request + b"body" + b"early")
    call = origin.accept()
    assert call.message().content == b"body"
    call.send(switching(b"custom/1"))
    assert client.head().status == 101
    assert call.exactly(5) == b"early"
