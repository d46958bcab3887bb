"""SIGTERM ends the process without ending anything that is under way."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.wire.client import HOST, Client
from tests.e2e.wire.draining import SHORT, SOON, Draining, Start, asked, tunnel
from tests.e2e.wire.flow import fill
from tests.http_client import get
from tests.message_stream import Stream
from tests.programs import accepts, alive, children
from tests.scripted_origin import OK, Call, ScriptedOrigin, elapsed
from tests.tls_client import PlainClient

EVENTS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def kept(drain: Draining, origin: ScriptedOrigin) -> tuple[Client, Call]:
    """A client whose connection waits for its second request."""
    client, call = asked(drain, origin, get(b"/", HOST))
    call.send(OK)
    assert client.message().content == b"ok"
    return client, call


# Exchanges.


def test_a_process_with_nothing_to_do_ends_at_once(start: Start) -> None:
    drain = start()
    workers = drain.proxy.workers()
    drain.stop()
    assert drain.ended() == 0
    assert not [pid for pid in workers if alive(pid)]


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_connections_that_wait_for_a_request_are_closed_cleanly(
    start: Start, origin: ScriptedOrigin, by: signal.Signals
) -> None:
    drain = start()
    client, call = kept(drain, origin)
    fresh = drain.dial()
    drain.stop(by)
    assert client.ending() == (b"", True)
    assert fresh.ending() == (b"", True)
    assert call.ending().rest == b""
    assert drain.ended() == 0


def test_who_has_just_come_is_served_once(start: Start, origin: ScriptedOrigin) -> None:
    drain = start()
    client = drain.dial()
    drain.stop()
    client.send(get(b"/", HOST))
    call = origin.accept()
    call.head()
    call.send(OK)
    assert client.message().head.values("connection") == [b"close"]
    assert client.ending() == (b"", True)
    assert drain.ended() == 0


def test_a_handshake_under_way_keeps_no_process_alive(start: Start) -> None:
    drain = start()
    with PlainClient(drain.proxy.https) as silent:
        drain.stop()
        assert drain.ended() == 0
        assert Stream(silent.recv).ending().rest == b""


def test_no_new_connection_is_taken(start: Start, origin: ScriptedOrigin) -> None:
    drain = start()
    plain_port = drain.proxy.http
    assert plain_port is not None
    _, call = asked(drain, origin, get(b"/", HOST))
    drain.stop()
    assert not accepts(plain_port)
    with pytest.raises(ConnectionRefusedError):
        drain.dial()
    assert drain.running
    call.send(OK)
    assert drain.ended() == 0


def test_an_exchange_under_way_ends_as_it_would_and_says_that_it_is_the_last(
    start: Start, origin: ScriptedOrigin
) -> None:
    drain = start()
    client, call = asked(drain, origin, get(b"/", HOST))
    drain.stop()
    assert drain.running
    call.send(OK)
    answer = client.message()
    assert answer.content == b"ok"
    assert answer.head.values("connection") == [b"close"]
    assert client.ending() == (b"", True)
    assert drain.ended() == 0


def test_a_response_under_way_goes_on_to_its_end(start: Start, origin: ScriptedOrigin) -> None:
    drain = start()
    client, call = asked(drain, origin, get(b"/", HOST))
    call.send(EVENTS + b"5\r\nfirst\r\n")
    assert client.head().status == 200
    assert client.chunk() == b"first"
    drain.stop()
    for _ in range(3):
        call.send(b"5\r\nevent\r\n")
        assert client.chunk() == b"event"
    call.send(b"0\r\nX-Sum: 1\r\n\r\n")
    assert client.chunk() == b""
    assert client.trailers() == [(b"X-Sum", b"1")]
    assert client.ending() == (b"", True)
    assert drain.ended() == 0


def test_an_upload_under_way_goes_on_to_its_end(start: Start, origin: ScriptedOrigin) -> None:
    drain = start()
    client, call = asked(drain, origin, get(b"/", HOST, b"Content-Length: 10", method=b"PUT"))
    drain.stop()
    client.send(b"0123456789")
    assert call.exactly(10) == b"0123456789"
    call.send(OK)
    assert client.message().head.values("connection") == [b"close"]
    assert drain.ended() == 0


def test_a_head_under_way_is_an_exchange_under_way(start: Start, origin: ScriptedOrigin) -> None:
    drain = start()
    client = drain.dial()
    client.send(b"GET / HT")
    other, call = asked(drain, origin, get(b"/other", HOST))  # the first bytes have come by now
    drain.stop()
    client.send(get(b"/", HOST)[8:])
    late = origin.accept()
    assert late.head().line == b"GET / HTTP/1.1"
    late.send(OK)
    assert client.message().head.values("connection") == [b"close"]
    call.send(OK)
    assert other.message().content == b"ok"
    assert drain.ended() == 0


def test_a_slow_reader_gets_all_of_what_was_answered(start: Start, origin: ScriptedOrigin) -> None:
    drain = start()
    client, call = asked(drain, origin, get(b"/", HOST))
    call.send(b"HTTP/1.1 200 OK\r\n\r\n")
    sent = fill(call)
    drain.stop()
    call.close()
    assert drain.running
    answer = client.message()
    assert len(answer.content) == sent
    assert client.ending() == (b"", True)
    assert drain.ended() == 0


def test_every_worker_drains(start: Start, origin: ScriptedOrigin) -> None:
    drain = start(workers=2)
    workers = drain.proxy.workers()
    pairs = [asked(drain, origin, get(b"/", HOST)) for _ in range(8)]
    drain.stop()
    for client, call in pairs:
        call.send(OK)
        assert client.message().content == b"ok"
    assert drain.ended() == 0
    assert len(workers) == 2
    assert not [pid for pid in workers if alive(pid)]


# The end of patience.


def test_what_has_not_ended_within_drain_is_aborted(start: Start, origin: ScriptedOrigin) -> None:
    drain = start(SHORT)
    client, call = asked(drain, origin, get(b"/", HOST))
    call.send(EVENTS + b"5\r\nfirst\r\n")
    assert client.head().status == 200
    assert client.chunk() == b"first"
    assert elapsed(drain.stop) < SOON
    assert drain.ended() == 0
    assert client.ending() == (b"", False)
    assert call.ending().rest == b""


@pytest.mark.parametrize("protocol", [None, b"custom/1", b"websocket"])
def test_a_second_signal_ends_the_process_at_once(
    start: Start, origin: ScriptedOrigin, protocol: bytes | None
) -> None:
    drain = start()
    if protocol is None:
        client, _ = asked(drain, origin, get(b"/", HOST))
    else:
        client, call = tunnel(drain, origin, protocol)
        call.send(b"\x82\x7e\x01\x00half a frame")
        client.exactly(16)
    before = children(drain.proxy.pid)
    drain.stop()
    assert drain.running
    drain.proxy.process.send_signal(signal.SIGTERM)
    assert drain.ended() == 0
    assert not client.ending().clean
    assert not [pid for pid in before if alive(pid)]
