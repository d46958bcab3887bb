"""An upstream that fails: what the client is told, and that no half answer looks whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client, Dial
from tests.http_client import get
from tests.message_stream import Stream, StreamEndedError
from tests.programs import Hopward, free_port
from tests.scripted_origin import OK, Call, ScriptedOrigin

REFUSED, UNRESOLVED, GONE = "refused.example.com", "unresolved.example.com", "gone.example.com"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


@pytest.fixture(scope="module")
def dead_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, dead_port: int, front: Front) -> Hopward:
    return front(
        {
            HOST: listening.url,
            REFUSED: f"http://127.0.0.1:{dead_port}",
            UNRESOLVED: "http://nowhere.invalid:3000",
            GONE: "unix:/nowhere/at/all.sock",
        }
    )


def close(call: Call) -> None:
    call.close()


def reset(call: Call) -> None:
    call.reset()


ENDS = [close, reset]
End = Callable[[Call], None]


def asked(dial: Dial, origin: ScriptedOrigin, request: bytes) -> tuple[Client, Call]:
    """A client whose request has reached the origin."""
    client = dial()
    client.send(request)
    call = origin.accept()
    call.head()
    return client, call


def served_again(client: Client, origin: ScriptedOrigin) -> bool:
    """Whether the client's connection carries another exchange, on a new one to the origin."""
    client.send(get(b"/again", HOST))
    call = origin.accept()
    call.head()
    call.send(OK)
    return client.message().content == b"ok"


# Before a head.


@pytest.mark.parametrize("host", [REFUSED, UNRESOLVED, GONE])
def test_an_upstream_that_cannot_be_reached_is_502(
    dial: Dial, origin: ScriptedOrigin, host: str
) -> None:
    client = dial(host)
    for _ in range(2):
        client.send(get(b"/", host))
        assert client.message().status == 502


@pytest.mark.parametrize("host", [REFUSED, UNRESOLVED, GONE])
def test_a_client_never_learns_what_stands_behind_the_proxy(
    dial: Dial, origin: ScriptedOrigin, dead_port: int, host: str
) -> None:
    client = dial(host)
    client.send(get(b"/", host))
    answer = client.message()
    for internal in ("127.0.0.1", str(dead_port), "nowhere", "Traceback", "Errno", "refused"):
        assert internal.encode() not in answer.content
    assert b"request id: " in answer.content


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("sent", [b"", b"H", b"HTTP/1.1 200 OK\r\nContent-Le", SIZED[:-2]])
def test_an_upstream_that_leaves_before_the_end_of_its_head_is_502(
    dial: Dial, origin: ScriptedOrigin, sent: bytes, end: End
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(sent)
    end(call)
    assert client.message().status == 502
    assert served_again(client, origin)


@pytest.mark.parametrize("end", ENDS)
def test_an_upstream_that_leaves_after_an_interim_response_is_502(
    dial: Dial, origin: ScriptedOrigin, end: End
) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert client.head().status == 103
    end(call)
    assert client.message().status == 502
    assert served_again(client, origin)


@pytest.mark.parametrize("end", ENDS)
def test_an_upstream_that_leaves_within_an_upload_is_502(
    dial: Dial, origin: ScriptedOrigin, end: End
) -> None:
    request = get(b"/", HOST, b"Content-Length: 100", method=b"PUT")
    client, call = asked(dial, origin, request + b"some")
    end(call)
    answer = client.message()
    assert answer.status == 502
    assert answer.head.values("connection") == [b"close"]
    assert client.ending() == (b"", True)


def test_an_answer_counts_although_its_sender_did_not_read_the_upload(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    request = get(b"/", HOST, b"Content-Length: 100", method=b"PUT")
    client, call = asked(dial, origin, request + b"some")
    call.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
    call.close()
    answer = client.message()
    assert (answer.status, answer.content) == (401, b"no")


def test_502_to_head_has_no_body(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, get(b"/", HOST, method=b"HEAD"))
    call.close()
    assert client.message(bodiless=True).status == 502
    assert served_again(client, origin)


# After a head: never an end that looks like one.

HALVES = {
    "of a known length": SIZED + b"half",
    "of a known length, all but one byte": SIZED + b"123456789",
    "of a known length, nothing": SIZED,
    "within a chunk": CHUNKED + b"a\r\nhalf",
    "behind a chunk's data": CHUNKED + b"4\r\nhalf",
    "behind a chunk": CHUNKED + b"4\r\nhalf\r\n",
    "within a chunk's size": CHUNKED + b"4\r\nhalf\r\n1",
    "behind the last chunk": CHUNKED + b"4\r\nhalf\r\n0\r\n",
    "within the trailers": CHUNKED + b"4\r\nhalf\r\n0\r\nX-Sum: 1\r\n",
    "before any chunk": CHUNKED,
}


def half(dial: Dial, origin: ScriptedOrigin, request: bytes, sent: bytes) -> tuple[Client, Call]:
    """A client that has got the head of a response of which `sent` has been sent."""
    client, call = asked(dial, origin, request)
    call.send(sent)
    assert client.head().status == 200
    return client, call


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("sent", HALVES.values(), ids=list(HALVES))
def test_half_a_response_aborts_the_client(
    dial: Dial, origin: ScriptedOrigin, sent: bytes, end: End
) -> None:
    client, call = half(dial, origin, get(b"/", HOST), sent)
    end(call)
    rest, clean = client.ending()
    assert not clean
    assert not rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("sent", HALVES.values(), ids=list(HALVES))
def test_half_a_response_aborts_a_client_of_http_1_0(
    dial: Dial, origin: ScriptedOrigin, sent: bytes, end: End
) -> None:
    older = get(b"/", HOST).replace(b"HTTP/1.1", b"HTTP/1.0")
    client, call = half(dial, origin, older, sent)
    end(call)
    assert not client.ending().clean


@pytest.mark.parametrize("sent", HALVES.values(), ids=list(HALVES))
def test_the_end_of_an_aborted_connection_is_a_reset_below_tls_too(
    dial: Dial, origin: ScriptedOrigin, sent: bytes
) -> None:
    """Clients that do not insist on close_notify would take a FIN for the end of a body."""
    client, call = half(dial, origin, get(b"/", HOST), sent)
    call.close()
    assert not Stream(lambda: client.wire.socket.recv(65536)).ending().clean


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_a_reset_is_no_end_of_a_body_that_ends_with_its_connection(
    dial: Dial, origin: ScriptedOrigin, version: bytes
) -> None:
    request = get(b"/", HOST).replace(b"HTTP/1.1", version)
    client, call = half(dial, origin, request, b"HTTP/1.1 200 OK\r\n\r\nhalf")
    call.reset()
    rest, clean = client.ending()
    assert not clean
    assert not rest.endswith(b"0\r\n\r\n")


def test_an_aborted_response_is_not_asked_for_again(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, get(b"/", HOST))
    call.send(OK)
    client.message()
    client.send(get(b"/", HOST))
    call.head()
    call.send(SIZED)
    call.close()
    with pytest.raises(StreamEndedError):
        client.message()
    assert not origin.called


def test_nothing_is_served_behind_an_aborted_response(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = asked(dial, origin, get(b"/1", HOST) + get(b"/2", HOST))
    call.send(SIZED + b"half")
    call.close()
    assert not client.ending().clean
    assert not origin.called
