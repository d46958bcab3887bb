"""No message that could be understood in two ways passes, in either direction."""

from __future__ import annotations

import contextlib

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client, Dial
from tests.e2e.wire.malformed import (
    BAD_CHUNKS,
    BODIES,
    BODY_LIMIT,
    CHUNKED,
    HEAD_LIMIT,
    POST,
    REQUESTS,
    RESPONSE_HEAD_LIMIT,
    RESPONSES,
    Case,
)
from tests.http_client import get
from tests.message_stream import StreamEndedError
from tests.programs import Hopward
from tests.scripted_origin import OK, Call, ScriptedOrigin

OTHER = "other.example.com"
CHUNKED_REQUEST = POST + CHUNKED + b"\r\n"
CHUNKED_RESPONSE = b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n"
# Cut into single bytes these take minutes and show nothing that the shorter ones do not.
LONG = 9000


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    limits = {
        "request_head": f"{HEAD_LIMIT}B",
        "request_body": f"{BODY_LIMIT}B",
        "response_head": f"{RESPONSE_HEAD_LIMIT}B",
    }
    return front({HOST: listening.url, OTHER: listening.url}, limits=limits)


def named(case: Case) -> str:
    return case.name


def bytewise(connection: Client | Call, octets: bytes) -> None:
    """Send byte by byte; the other side may have heard enough before the last one."""
    with contextlib.suppress(ConnectionError):
        for octet in octets:
            connection.send(bytes([octet]))


def serves_the_next(dial: Dial, origin: ScriptedOrigin) -> bool:
    """Whether a good request is the next thing that the origin hears of."""
    client = dial()
    client.send(get(b"/next", HOST))
    call = origin.accept()
    line = call.head().line
    call.send(OK)
    return line == b"GET /next HTTP/1.1" and client.message().content == b"ok"


def refused(client: Client) -> int:
    """The status of the only answer before a clean end of the connection."""
    message = client.message()
    assert message.head.values("connection") == [b"close"]
    assert client.ending() == (b"", True)
    return message.status


# Requests.


@pytest.mark.parametrize("case", REQUESTS, ids=named)
def test_a_malformed_request_is_refused_and_no_origin_hears_of_it(
    dial: Dial, origin: ScriptedOrigin, case: Case
) -> None:
    client = dial()
    client.send(case.octets)
    assert refused(client) == case.status
    assert serves_the_next(dial, origin)


@pytest.mark.parametrize("case", REQUESTS, ids=named)
def test_a_malformed_request_is_refused_however_it_is_cut(
    dial: Dial, origin: ScriptedOrigin, case: Case
) -> None:
    client = dial()
    bytewise(client, case.octets)
    assert refused(client) == case.status
    assert serves_the_next(dial, origin)


@pytest.mark.parametrize("case", REQUESTS, ids=named)
def test_nothing_behind_a_malformed_request_is_served(
    dial: Dial, origin: ScriptedOrigin, case: Case
) -> None:
    client = dial()
    client.send(get(b"/before", HOST))
    call = origin.accept()
    call.head()
    call.send(OK)
    assert client.message().content == b"ok"
    client.send(case.octets + get(b"/smuggled", HOST))
    assert refused(client) == case.status
    call.hang_up()
    assert call.ahead == b""
    assert serves_the_next(dial, origin)


@pytest.mark.parametrize("case", BODIES, ids=named)
def test_a_malformed_body_is_refused(dial: Dial, origin: ScriptedOrigin, case: Case) -> None:
    client = dial()
    client.send(CHUNKED_REQUEST + case.octets)
    assert refused(client) == case.status
    if origin.called:
        with pytest.raises(StreamEndedError):
            origin.accept().message()


@pytest.mark.parametrize("case", [it for it in BODIES if len(it.octets) < LONG], ids=named)
def test_a_malformed_body_never_looks_complete_to_the_origin(
    dial: Dial, origin: ScriptedOrigin, case: Case
) -> None:
    client = dial()
    client.send(CHUNKED_REQUEST)
    call = origin.accept()
    assert call.head().values("transfer-encoding") == [b"chunked"]
    bytewise(client, case.octets)
    assert refused(client) == case.status
    with pytest.raises(StreamEndedError):
        call.chunks()


def test_a_body_of_just_the_limit_passes(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    client.send(POST + b"Content-Length: %d\r\n\r\n" % BODY_LIMIT + bytes(BODY_LIMIT))
    call = origin.accept()
    assert len(call.message().content) == BODY_LIMIT
    call.send(OK)
    assert client.message().status == 200


def test_a_head_of_just_the_limit_passes(dial: Dial, origin: ScriptedOrigin) -> None:
    client = dial()
    bare = get(b"/", HOST, b"A: ")
    client.send(get(b"/", HOST, b"A: " + b"x" * (HEAD_LIMIT - len(bare))))
    call = origin.accept()
    assert len(call.head().value("a") or b"") == HEAD_LIMIT - len(bare)
    call.send(OK)
    assert client.message().status == 200


# Responses.


def asked(dial: Dial, origin: ScriptedOrigin) -> tuple[Client, Call]:
    """A request that waits for its response."""
    client = dial()
    client.send(get(b"/", HOST))
    call = origin.accept()
    call.head()
    return client, call


def final(client: Client) -> int:
    """The status of the final response, whose message is complete."""
    while True:
        head = client.head()
        if head.status >= 200:
            client.exactly(int(head.value("content-length") or 0))
            return head.status


@pytest.mark.parametrize("case", RESPONSES, ids=named)
def test_a_malformed_response_becomes_502(dial: Dial, origin: ScriptedOrigin, case: Case) -> None:
    client, call = asked(dial, origin)
    call.send(case.octets)
    assert final(client) == case.status
    call.ending()
    assert serves_the_next(dial, origin)


@pytest.mark.parametrize("case", [it for it in RESPONSES if len(it.octets) < LONG], ids=named)
def test_a_malformed_response_becomes_502_however_it_is_cut(
    dial: Dial, origin: ScriptedOrigin, case: Case
) -> None:
    client, call = asked(dial, origin)
    bytewise(call, case.octets)
    assert final(client) == case.status


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=list(BAD_CHUNKS))
def test_a_malformed_body_of_a_response_aborts_the_client(
    dial: Dial, origin: ScriptedOrigin, body: bytes
) -> None:
    client, call = asked(dial, origin)
    call.send(CHUNKED_RESPONSE + b"5\r\nfirst\r\n")
    assert client.head().status == 200
    assert client.chunk() == b"first"
    with contextlib.suppress(ConnectionError):
        call.send(body)
    rest, clean = client.ending()
    assert not clean
    assert not rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=list(BAD_CHUNKS))
def test_a_malformed_body_looks_complete_to_no_client_of_http_1_0(
    dial: Dial, origin: ScriptedOrigin, body: bytes
) -> None:
    client = dial()
    client.send(get(b"/", HOST).replace(b"HTTP/1.1", b"HTTP/1.0"))
    call = origin.accept()
    call.head()
    call.send(CHUNKED_RESPONSE + b"5\r\nfirst\r\n")
    assert client.head().status == 200
    assert client.exactly(5) == b"first"
    with contextlib.suppress(ConnectionError):
        call.send(body)
    # the end of the connection would be the end of the body: here it must not look like one
    assert not client.ending().clean


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=list(BAD_CHUNKS))
def test_a_malformed_body_that_comes_with_its_head_is_never_passed_as_complete(
    dial: Dial, origin: ScriptedOrigin, body: bytes
) -> None:
    client, call = asked(dial, origin)
    with contextlib.suppress(ConnectionError):
        call.send(CHUNKED_RESPONSE + body)
    try:
        assert client.message().status == 502
    except StreamEndedError:
        assert not client.clean
