"""An upgrade that the upstream grants becomes a tunnel: every byte, both ends, nothing more."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.conftest import HOST, Client, Dial
from tests.e2e.wire.flow import MIB, fill, steadily, take
from tests.http_client import get
from tests.programs import Hopward
from tests.scripted_origin import OK, Call, ScriptedOrigin

QUICK, IDLE = 0.3, 0.8
KERNEL = 48 * MIB
ANY_BYTES = bytes(range(256)) * 8
UPGRADE = b"Connection: Upgrade"


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    """Every patience but that of tunnels is shorter than they live here."""
    steps = ("request_head", "request_body", "keepalive", "response_head", "response_body")
    timeouts = dict.fromkeys(steps, f"{QUICK * 1000:.0f}ms")
    return front({HOST: listening.url}, timeouts=timeouts)


@pytest.fixture(scope="module")
def impatient(listening: ScriptedOrigin, front: Front) -> Hopward:
    idle = f"{IDLE * 1000:.0f}ms"
    return front({HOST: listening.url}, timeouts={"websocket_idle": idle})


def upgrade(protocol: bytes, *fields: bytes, connection: bytes = UPGRADE) -> bytes:
    return get(b"/live", HOST, connection, b"Upgrade: " + protocol, *fields)


def switching(protocol: bytes, *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 101 Switching Protocols", UPGRADE, b"Upgrade: " + protocol, *fields]
    return b"\r\n".join([*lines, b"", b""])


def asked(dial: Dial, origin: ScriptedOrigin, request: bytes) -> tuple[Client, Call]:
    """A client whose request's head has reached the origin."""
    client = dial()
    client.send(request)
    call = origin.accept()
    call.head()
    return client, call


def tunnel(
    dial: Dial, origin: ScriptedOrigin, protocol: bytes = b"custom/1"
) -> tuple[Client, Call]:
    """Both ends of a tunnel."""
    client, call = asked(dial, origin, upgrade(protocol))
    call.send(switching(protocol))
    assert client.head().status == 101
    return client, call


def carries(client: Client, call: Call) -> bool:
    """Whether bytes pass both ways."""
    client.send(b"there")
    call.send(b"back")
    return call.exactly(5) == b"there" and client.exactly(4) == b"back"


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


@pytest.mark.parametrize(
    ("request_", "granted"),
    [
        (get(b"/", HOST), b"websocket"),
        (upgrade(b"custom/1"), b"custom/2"),
        (upgrade(b"custom/1"), b"websocket"),
        (upgrade(b"custom/1"), b"custom/1, websocket"),
        (upgrade(b"custom/1"), b""),
        (upgrade(b"h2c"), b"h2c"),
        (upgrade(b"h2c, custom/1"), b"h2c"),
        (upgrade(b"websocket").replace(b"HTTP/1.1", b"HTTP/1.0"), b"websocket"),
        (upgrade(b"websocket", connection=b"Connection: close"), b"websocket"),
    ],
)
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


# Bytes.


@pytest.mark.parametrize("protocol", [b"websocket", b"custom/1"])
def test_any_bytes_pass_both_ways_unchanged(
    dial: Dial, origin: ScriptedOrigin, protocol: bytes
) -> None:
    client, call = tunnel(dial, origin, protocol)
    for _ in range(20):
        client.send(ANY_BYTES)
        assert call.exactly(len(ANY_BYTES)) == ANY_BYTES
        call.send(ANY_BYTES[::-1])
        assert client.exactly(len(ANY_BYTES)) == ANY_BYTES[::-1]


def test_bytes_that_came_early_are_held_until_the_switch(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, upgrade(b"custom/1") + b"early")
    client.send(b" and more")
    call.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert client.head().status == 103
    assert call.silent()
    call.send(switching(b"custom/1"))
    assert call.exactly(14) == b"early and more"


def test_bytes_that_come_with_the_switch_reach_the_client(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, upgrade(b"custom/1"))
    call.send(switching(b"custom/1") + b"at once")
    assert client.head().status == 101
    assert client.exactly(7) == b"at once"


def test_many_early_bytes_are_held_within_bounds_and_in_order(
    dial: Dial, origin: ScriptedOrigin, proxy: Hopward
) -> None:
    client, call = asked(dial, origin, upgrade(b"custom/1"))
    before = proxy.memory()
    sent = fill(client)
    assert sent < KERNEL
    assert proxy.memory() - before < 8 * MIB
    call.send(switching(b"custom/1"))
    assert take(call, sent) == sent
    assert client.head().status == 101


# Ends.


def test_a_clients_half_close_leaves_the_other_direction_open(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = tunnel(dial, origin)
    client.send(b"last words")
    client.wire.half_close()
    assert call.ending() == (b"last words", True)
    for _ in range(3):
        call.send(b"still here")
        assert client.exactly(10) == b"still here"
    call.close()
    assert client.ending() == (b"", True)


def test_an_origins_half_close_leaves_the_other_direction_open(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = tunnel(dial, origin)
    call.send(b"last words")
    call.half_close()
    assert client.ending() == (b"last words", True)
    for _ in range(3):
        client.send(b"still here")
        assert call.exactly(10) == b"still here"
    client.wire.close()
    assert call.ending() == (b"", True)


def test_both_ends_may_close_one_after_the_other(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = tunnel(dial, origin)
    client.wire.half_close()
    assert call.ending() == (b"", True)
    call.send(b"alone")
    call.half_close()
    assert client.ending() == (b"alone", True)


def test_what_was_said_before_both_ends_closed_still_arrives_at_a_slow_origin(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = tunnel(dial, origin)
    call.half_close()
    assert client.ending() == (b"", True)
    client.send(bytes(2 * MIB))
    client.wire.close()
    received = 0
    for _ in steadily(3, QUICK):
        received += take(call, MIB // 2)
    rest, clean = call.ending()
    assert received + len(rest) == 2 * MIB
    assert clean


def test_what_was_said_before_both_ends_closed_still_arrives_at_a_slow_client(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = tunnel(dial, origin)
    sent = fill(call)
    client.wire.half_close()
    assert call.ending() == (b"", True)
    call.close()
    received = 0
    for _ in steadily(3, QUICK):
        received += take(client, sent // 4)
    rest, clean = client.ending()
    assert received + len(rest) == sent
    assert clean


def test_a_clients_reset_reaches_the_origin_as_one(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = tunnel(dial, origin)
    assert carries(client, call)
    client.wire.reset()
    assert call.ending() == (b"", False)


def test_an_origins_reset_reaches_the_client_as_one(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = tunnel(dial, origin)
    assert carries(client, call)
    call.reset()
    assert client.ending() == (b"", False)


def test_a_reset_after_the_half_close_of_the_other_end_is_a_reset_still(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = tunnel(dial, origin)
    client.wire.half_close()
    assert call.ending() == (b"", True)
    call.send(b"half")
    call.reset()
    assert client.ending() == (b"half", False)


# Patience.


def test_a_silent_tunnel_outlives_the_patience_for_exchanges(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = tunnel(dial, origin)
    for _ in steadily(1, 4 * QUICK):
        assert carries(client, call)


@pytest.mark.parametrize("protocol", [b"websocket", b"custom/1"])
def test_a_half_closed_tunnel_outlives_the_patience_for_exchanges(
    dial: Dial, origin: ScriptedOrigin, protocol: bytes
) -> None:
    client, call = tunnel(dial, origin, protocol)
    client.wire.half_close()
    assert call.ending().clean
    for _ in steadily(1, 4 * QUICK):
        call.send(b"late")
    call.close()
    assert client.ending() == (b"late", True)


class TestIdle:
    """The patience for tunnels themselves, where it is on."""

    @pytest.fixture
    def proxy(self, impatient: Hopward) -> Hopward:
        return impatient

    @pytest.mark.parametrize("protocol", [b"websocket", b"custom/1"])
    def test_a_tunnel_that_nobody_uses_is_ended(
        self, dial: Dial, origin: ScriptedOrigin, protocol: bytes
    ) -> None:
        client, call = tunnel(dial, origin, protocol)
        assert client.ending().clean
        assert call.ending().clean

    @pytest.mark.parametrize("speaker", [0, 1])
    def test_bytes_of_one_direction_keep_a_tunnel(
        self, dial: Dial, origin: ScriptedOrigin, speaker: int
    ) -> None:
        ends = tunnel(dial, origin)
        for _ in steadily(6, IDLE / 3):
            ends[speaker].send(b"x")
        assert ends[1 - speaker].exactly(6) == b"xxxxxx"
        assert carries(*ends)


# Nobody is sent more than he takes.


def test_a_client_that_reads_nothing_stops_its_origin(
    dial: Dial, origin: ScriptedOrigin, proxy: Hopward
) -> None:
    client, call = tunnel(dial, origin, b"websocket")
    before = proxy.memory()
    sent = fill(call)
    assert sent < KERNEL
    assert proxy.memory() - before < 8 * MIB
    client.send(b"still")
    assert call.exactly(5) == b"still"
    assert take(client, sent) == sent


def test_an_origin_that_reads_nothing_stops_its_client(
    dial: Dial, origin: ScriptedOrigin, proxy: Hopward
) -> None:
    client, call = tunnel(dial, origin, b"websocket")
    before = proxy.memory()
    sent = fill(client)
    assert sent < KERNEL
    assert proxy.memory() - before < 8 * MIB
    call.send(b"still")
    assert client.exactly(5) == b"still"
    assert take(call, sent) == sent
