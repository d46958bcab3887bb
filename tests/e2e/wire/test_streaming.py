"""Bytes pass as they come, in both directions, and no faster than they are taken."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.wire.client import HOST, Client, Dial
from tests.e2e.wire.flow import MIB, fill, take
from tests.http_client import get
from tests.message_stream import StreamEndedError
from tests.programs import Hopward
from tests.scripted_origin import OK, Call, ScriptedOrigin

CHUNKED = b"Transfer-Encoding: chunked"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
ROUNDS = 20
# What the kernel's buffers of both connections may hold; a proxy without bounds takes all.
KERNEL = 48 * MIB
ENDLESS = 1024 * MIB


def post(*fields: bytes) -> bytes:
    return get(b"/", HOST, *fields, method=b"POST")


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def asked(dial: Dial, origin: ScriptedOrigin, request: bytes) -> tuple[Client, Call]:
    """A client whose request's head has reached the origin."""
    client = dial()
    client.send(request)
    call = origin.accept()
    call.head()
    return client, call


# Each piece is there before the next is sent.


def test_a_responses_head_does_not_wait_for_its_body(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(EVENTS + CHUNKED + b"\r\n\r\n")
    assert client.head().status == 200


def test_each_event_reaches_the_client_before_the_next_is_sent(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(EVENTS + CHUNKED + b"\r\n\r\n")
    client.head()
    for number in range(ROUNDS):
        event = b"data: %d\n\n" % number
        call.send(chunk(event))
        assert client.chunk() == event
    call.send(b"0\r\n\r\n")
    assert client.chunk() == b""


def test_a_chunk_that_is_not_all_there_is_passed_on_as_far_as_it_is(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(EVENTS + CHUNKED + b"\r\n\r\n14\r\n0123456789")
    client.head()
    assert client.chunk() == b"0123456789"
    call.send(b"abcdefghij\r\n0\r\n\r\n")
    assert client.chunk() == b"abcdefghij"


def test_pieces_of_a_known_length_are_passed_on_one_by_one(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(EVENTS + b"Content-Length: %d\r\n\r\n" % ROUNDS)
    client.head()
    for number in range(ROUNDS):
        call.send(b"%d" % (number % 10))
        assert client.exactly(1) == b"%d" % (number % 10)


def test_a_client_of_http_1_0_gets_each_piece_as_it_comes(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    older = get(b"/", HOST).replace(b"HTTP/1.1", b"HTTP/1.0")
    client, call = asked(dial, origin, older)
    call.send(EVENTS + CHUNKED + b"\r\n\r\n")
    client.head()
    for _ in range(ROUNDS):
        call.send(chunk(b"event"))
        assert client.exactly(5) == b"event"


def test_a_requests_head_does_not_wait_for_its_body(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    client.send(post(b"Content-Length: 5"))
    assert origin.accept().head().values("content-length") == [b"5"]


def test_each_piece_of_a_request_reaches_the_origin_before_the_next_is_sent(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, post(b"Content-Length: %d" % ROUNDS))
    for _ in range(ROUNDS):
        client.send(b"x")
        assert call.exactly(1) == b"x"
    call.send(OK)
    assert client.message().content == b"ok"


def test_each_chunk_of_a_request_reaches_the_origin_before_the_next_is_sent(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, post(CHUNKED))
    for number in range(ROUNDS):
        client.send(chunk(b"%d" % number))
        assert call.chunk() == b"%d" % number
    client.send(b"0\r\nX-Sum: 1\r\n\r\n")
    assert call.chunk() == b""
    assert call.trailers() == [(b"X-Sum", b"1")]
    call.send(OK)
    assert client.message().content == b"ok"


def test_both_bodies_may_be_under_way_at_once(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, post(CHUNKED))
    call.send(EVENTS + CHUNKED + b"\r\n\r\n")
    client.head()
    for number in range(ROUNDS):
        client.send(chunk(b"question %d" % number))
        assert call.chunk() == b"question %d" % number
        call.send(chunk(b"answer %d" % number))
        assert client.chunk() == b"answer %d" % number
    client.send(b"0\r\n\r\n")
    assert call.chunk() == b""
    call.send(b"0\r\n\r\n")
    assert client.chunk() == b""


# Answers that come early.


@pytest.mark.parametrize("framing", [b"Content-Length: 99999999", CHUNKED])
def test_an_answer_before_the_requests_end_is_passed_on_at_once(
    dial: Dial, origin: ScriptedOrigin, framing: bytes
) -> None:
    client, call = asked(dial, origin, post(framing) + (b"5\r\nhello\r\n"))
    call.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!")
    answer = client.message()
    assert (answer.status, answer.content) == (413, b"no!")
    # where the rest of the request would end nobody waits to see
    assert answer.head.values("connection") == [b"close"]
    assert client.ending() == (b"", True)


def test_an_early_answer_ends_the_request_at_the_origin(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, post(CHUNKED) + chunk(b"first"))
    call.send(OK)
    client.message()
    with pytest.raises(StreamEndedError):
        call.chunks()


def test_a_client_that_sends_on_still_reads_the_early_answer(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, post(b"Content-Length: %d" % ENDLESS))
    call.send(OK)
    call.ending()
    for _ in range(64):
        client.send(bytes(16384))
    assert client.message().content == b"ok"


# A client that leaves.


def leave_politely(client: Client) -> None:
    client.wire.close()


def leave_silently(client: Client) -> None:
    client.wire.vanish()


def leave_by_reset(client: Client) -> None:
    client.wire.reset()


LEAVINGS = [leave_politely, leave_silently, leave_by_reset]
Leave = Callable[[Client], None]


@pytest.mark.parametrize("leave", LEAVINGS)
def test_a_client_that_leaves_while_it_waits_ends_its_request(
    dial: Dial, origin: ScriptedOrigin, leave: Leave
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    leave(client)
    assert call.ending().rest == b""


@pytest.mark.parametrize("leave", LEAVINGS)
def test_a_client_that_leaves_within_the_response_ends_its_request(
    dial: Dial, origin: ScriptedOrigin, leave: Leave
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(EVENTS + CHUNKED + b"\r\n\r\n" + chunk(b"event"))
    client.head()
    assert client.chunk() == b"event"
    leave(client)
    assert call.ending().rest == b""


@pytest.mark.parametrize("leave", LEAVINGS)
def test_a_client_that_leaves_within_its_request_leaves_it_unfinished(
    dial: Dial, origin: ScriptedOrigin, leave: Leave
) -> None:
    client, call = asked(dial, origin, post(CHUNKED) + chunk(b"first"))
    assert call.chunk() == b"first"
    leave(client)
    with pytest.raises(StreamEndedError):
        call.chunks()


@pytest.mark.parametrize("leave", LEAVINGS)
def test_a_client_that_leaves_takes_its_pipelined_requests_with_it(
    dial: Dial, origin: ScriptedOrigin, leave: Leave
) -> None:
    client, call = asked(dial, origin, get(b"/1", HOST) + get(b"/2", HOST))
    leave(client)
    assert call.ending().rest == b""
    asked(dial, origin, get(b"/3", HOST))[1].send(OK)
    assert not origin.called


def test_a_client_that_leaves_while_it_reads_slowly_ends_its_request(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(EVENTS + b"Content-Length: %d\r\n\r\n" % ENDLESS)
    fill(call)
    client.wire.reset()
    assert call.ending().rest == b""


# Nobody is sent more than he takes.


def test_a_client_that_reads_nothing_stops_its_origin(
    dial: Dial, origin: ScriptedOrigin, proxy: Hopward
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    before = proxy.memory()
    call.send(EVENTS + b"Content-Length: %d\r\n\r\n" % ENDLESS)
    sent = fill(call)
    assert sent < KERNEL
    assert proxy.memory() - before < 8 * MIB
    client.head()
    assert take(client, sent) == sent


def test_an_origin_that_reads_nothing_stops_its_client(
    dial: Dial, origin: ScriptedOrigin, proxy: Hopward
) -> None:
    client, call = asked(dial, origin, post(b"Content-Length: %d" % ENDLESS))
    before = proxy.memory()
    sent = fill(client)
    assert sent < KERNEL
    assert proxy.memory() - before < 8 * MIB
    assert take(call, sent) == sent


def test_a_client_that_pipelines_without_reading_is_read_no_further(
    dial: Dial, origin: ScriptedOrigin, proxy: Hopward
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    before = proxy.memory()
    assert fill(client, get(b"/" + b"x" * 1000, HOST)) < KERNEL
    assert proxy.memory() - before < 8 * MIB
    # An answer that breaks off ends the connection, and no other test meets what waits behind it.
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    client.head()


def test_a_slow_reader_gets_every_byte_in_order(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    block = bytes(range(256)) * 256
    call.send(EVENTS + b"Content-Length: %d\r\n\r\n" % ENDLESS)
    sent = fill(call, block)
    client.head()
    received = client.exactly(sent)
    assert received == (block * (sent // len(block) + 1))[:sent]


# What passes in bulk is written from where it lies; what waits must not be lost by that.


def test_what_waits_for_a_slow_origin_is_not_touched_by_another_clients_bytes(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    slow, stalled = asked(dial, origin, post(b"Content-Length: %d" % ENDLESS))
    sent = fill(slow, b"a" * 16384)
    other, call = asked(dial, origin, post(b"Content-Length: %d" % (4 * MIB)))
    with ThreadPoolExecutor(1) as elsewhere:
        taken = elsewhere.submit(call.exactly, 4 * MIB)
        other.send(b"b" * (4 * MIB))
        assert taken.result() == b"b" * (4 * MIB)
    # the last record of what was sent is not whole
    left = sent - 2 * 16384
    while left > 0:
        piece = stalled.exactly(min(left, MIB))
        assert piece == b"a" * len(piece)
        left -= len(piece)


def test_what_waits_for_a_slow_client_is_not_touched_by_anothers_answer(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    slow, call = asked(dial, origin, get(b"/", HOST))
    call.send(head % ENDLESS)
    sent = fill(call, b"a" * 65536)
    other, quick = asked(dial, origin, get(b"/", HOST))
    with ThreadPoolExecutor(1) as elsewhere:
        answered = elsewhere.submit(quick.send, head % (4 * MIB) + b"b" * (4 * MIB))
        assert other.message().content == b"b" * (4 * MIB)
        answered.result()
    slow.head()
    while sent > 0:
        piece = slow.exactly(min(sent, MIB))
        assert piece == b"a" * len(piece)
        sent -= len(piece)
