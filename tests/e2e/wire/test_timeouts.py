"""Patience is measured on progress: who stands still is given up, who is slow but steady is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client, Dial
from tests.e2e.wire.flow import MIB, fill, steadily, take
from tests.http_client import get
from tests.message_stream import Ending, Stream, StreamEndedError
from tests.programs import Hopward
from tests.scripted_origin import OK, Call, ScriptedOrigin, elapsed
from tests.tls_client import PlainClient, TLSClient, TruncatedError

DEAF, MUTE = "deaf.example.com", "mute.example.com"
TIMEOUT = 0.4
# Of a patience of 0.4 s, on a machine that is busy with other things.
SOON = 5.0
# More than twice the time-out in all, each step well within it.
ROUNDS, PAUSE = 25, 0.04
STEPS = ["handshake", "request_head", "request_body", "keepalive", "connect"]
STEPS += ["response_head", "response_body"]
CHUNKED = b"Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def deaf() -> Iterator[str]:
    """An address that answers no connection: its queue is full, and stays so."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for each in waiting:
            each.close()


@pytest.fixture(scope="module")
def mute() -> Iterator[str]:
    """An address that takes every connection and never says a word of TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, deaf: str, mute: str, front: Front) -> Hopward:
    timeouts = dict.fromkeys(STEPS, f"{TIMEOUT * 1000:.0f}ms")
    return front({HOST: listening.url, DEAF: deaf, MUTE: mute}, timeouts=timeouts)


def asked(dial: Dial, origin: ScriptedOrigin, request: bytes) -> tuple[Client, Call]:
    """A client whose request's head has reached the origin."""
    client = dial()
    client.send(request)
    call = origin.accept()
    call.head()
    return client, call


def post(*fields: bytes) -> bytes:
    return get(b"/", HOST, *fields, method=b"POST")


def timed_out(client: Client, status: int) -> bool:
    """Whether the answer is `status`, after the time-out but soon after it."""
    answers: list[int] = []
    seconds = elapsed(lambda: answers.append(client.message().status))
    return answers == [status] and seconds < SOON


# The handshake.


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"])
def test_a_handshake_that_stands_still_is_given_up(
    proxy: Hopward, origin: ScriptedOrigin, hello: bytes
) -> None:
    with PlainClient(proxy.https) as client:
        client.send(hello)
        assert elapsed(Stream(client.recv).ending) < SOON


def test_a_handshake_may_not_be_drawn_out(proxy: Hopward, origin: ScriptedOrigin) -> None:
    with PlainClient(proxy.https) as client, pytest.raises(ConnectionError):  # noqa: PT012
        client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        for _ in steadily(4 * ROUNDS, PAUSE):
            client.send(b"\x00")


# Heads.


def test_a_client_that_asks_nothing_is_parted_from(dial: Dial, origin: ScriptedOrigin) -> None:
    rest, clean = dial().ending()
    assert clean
    assert rest[:13] in (b"", b"HTTP/1.1 408 ")


def test_a_head_that_stands_still_is_408(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    client.send(get(b"/", HOST)[:-2])
    assert timed_out(client, 408)
    assert client.ending() == (b"", True)
    assert not origin.called


def test_a_head_may_not_be_drawn_out(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    client.send(get(b"/", HOST)[:-2] + b"A: ")
    for _ in steadily(ROUNDS, PAUSE):
        client.send(b"x")
    assert client.message().status == 408
    assert not origin.called


def test_a_connection_that_nobody_uses_ends_without_a_word(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(OK)
    client.message()
    assert client.ending() == (b"", True)


def test_the_second_requests_head_has_the_patience_of_the_first(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(OK)
    client.message()
    client.send(b"GET / HTTP/1.1\r\n")
    assert timed_out(client, 408)


# Bodies of requests.


@pytest.mark.parametrize("framing", [b"Content-Length: 10", CHUNKED])
def test_a_body_that_stands_still_is_408_and_never_looks_complete(
    dial: Dial, origin: ScriptedOrigin, framing: bytes
) -> None:
    client, call = asked(dial, origin, post(framing) + b"5\r\nab")
    assert timed_out(client, 408)
    assert client.ending() == (b"", True)
    with pytest.raises(StreamEndedError):
        call.exactly(11)


def test_an_upload_may_be_slow_as_long_as_it_is_steady(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, post(b"Content-Length: %d" % ROUNDS))
    for _ in steadily(ROUNDS, PAUSE):
        client.send(b"x")
    assert call.exactly(ROUNDS) == b"x" * ROUNDS
    call.send(OK)
    assert client.message().content == b"ok"


def test_an_origin_may_take_an_upload_slowly_as_long_as_it_is_steady(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    size = 1024 * MIB
    client, call = asked(dial, origin, post(b"Content-Length: %d" % size))
    sent = fill(client)
    for _ in steadily(ROUNDS, PAUSE):
        take(call, sent // (2 * ROUNDS))
    call.send(OK)
    assert client.message().content == b"ok"


def test_an_origin_that_takes_nothing_of_an_upload_is_504(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, post(b"Content-Length: %d" % (1024 * MIB)))
    fill(client)
    assert timed_out(client, 504)
    with pytest.raises(StreamEndedError):
        call.exactly(1024 * MIB)


EXPECTING = post(b"Expect: 100-continue", b"Content-Length: 5")


def test_a_client_that_waits_to_be_continued_is_not_the_slow_one(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, _ = asked(dial, origin, EXPECTING)
    assert timed_out(client, 504)


def test_a_client_that_was_continued_and_stands_still_is(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, EXPECTING)
    call.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.head().status == 100
    assert timed_out(client, 408)


# Responses.


def test_an_origin_that_does_not_answer_is_504(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    assert timed_out(client, 504)
    call.ending()


def test_a_head_that_does_not_come_to_its_end_is_504(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")
    assert timed_out(client, 504)


def test_a_client_may_ask_again_after_504(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, get(b"/1", HOST))
    assert timed_out(client, 504)
    call.ending()
    client.send(get(b"/2", HOST))
    again = origin.accept()
    assert again.head().line == b"GET /2 HTTP/1.1"
    again.send(OK)
    assert client.message().content == b"ok"


def test_504_is_never_answered_by_asking_twice(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, get(b"/1", HOST))
    call.send(OK)
    client.message()
    client.send(get(b"/2", HOST))
    call.head()
    assert timed_out(client, 504)
    assert not origin.called


def test_interim_responses_show_that_the_origin_is_alive(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    for _ in steadily(ROUNDS, PAUSE):
        call.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        assert client.head().status == 102
    call.send(OK)
    assert client.message().content == b"ok"


@pytest.mark.parametrize("framing", [b"Content-Length: 10", CHUNKED, b"Connection: close"])
def test_a_body_that_stands_still_aborts_the_client(
    dial: Dial, origin: ScriptedOrigin, framing: bytes
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhello")
    assert client.head().status == 200
    endings: list[Ending] = []
    assert elapsed(lambda: endings.append(client.ending())) < SOON
    assert not endings[0].clean
    call.ending()


def test_a_download_may_come_slowly_as_long_as_it_is_steady(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % ROUNDS)
    for _ in steadily(ROUNDS, PAUSE):
        call.send(b"x")
    assert client.message().content == b"x" * ROUNDS


def test_a_client_may_take_a_download_slowly_as_long_as_it_is_steady(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    call.send(head % (1024 * MIB))
    sent = fill(call)
    client.head()
    for _ in steadily(ROUNDS, PAUSE):
        take(client, sent // (2 * ROUNDS))
    call.send(b"the origin is still there")
    assert take(client, sent - ROUNDS * (sent // (2 * ROUNDS))) > 0
    assert client.exactly(25) == b"the origin is still there"


def test_a_client_that_takes_nothing_of_a_download_is_given_up(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1024 * MIB))
    fill(call)
    assert elapsed(call.ending) < SOON
    client.head()
    assert not client.ending().clean


def test_a_finished_answer_is_not_cut_off_a_slow_but_steady_reader(
    proxy: Hopward, origin: ScriptedOrigin, authority: Authority
) -> None:
    size, rounds = MIB // 2, 2 * ROUNDS - 1
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as wire:
        # So little that most of the answer waits in the proxy, and moves at each step.
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        client = Client(wire)
        client.send(get(b"/", HOST, b"Connection: close"))
        call = origin.accept()
        call.head()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        call.send(bytes(size))
        client.head()
        for _ in steadily(rounds, PAUSE):
            take(client, size // (2 * ROUNDS))
        rest, clean = client.ending()
        assert len(rest) == size - rounds * (size // (2 * ROUNDS))
        assert clean


# Connections to origins.


def test_an_origin_that_takes_no_connection_is_504(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial(DEAF)
    client.send(get(b"/", DEAF))
    assert timed_out(client, 504)


def test_an_origin_that_never_shakes_hands_is_504(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial(MUTE)
    client.send(get(b"/", MUTE))
    assert timed_out(client, 504)


def test_a_body_that_comes_while_no_connection_does_is_not_the_clients_fault(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial(DEAF)
    request = get(b"/", DEAF, b"Content-Length: %d" % (1024 * MIB), method=b"POST")
    client.send(request)
    fill(client)
    assert timed_out(client, 504)


def test_half_a_response_within_patience_is_never_a_whole_one(
    proxy: Hopward, origin: ScriptedOrigin, authority: Authority
) -> None:
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
        client.send(get(b"/", HOST).replace(b"HTTP/1.1", b"HTTP/1.0"))
        call = origin.accept()
        call.head()
        call.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
        assert client.recv_until(b"half").endswith(b"half")
        with pytest.raises((TruncatedError, ConnectionResetError)):
            client.recv()
