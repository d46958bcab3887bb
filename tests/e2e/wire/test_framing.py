"""No message that could be understood in two ways passes, whatever passed before it.

The messages are those of the wire corpus (tests/wire), which tests/e2e/wire/test_corpus.py sends on
connections of their own. Here they come behind something good: a request that was answered, a head
or a chunk that was sent on.
"""

from __future__ import annotations

import contextlib

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client, Dial
from tests.http_client import get
from tests.message_stream import StreamEndedError
from tests.programs import Hopward
from tests.scripted_origin import OK, Call, ScriptedOrigin
from tests.wire.corpus import LIMITS, OTHER, Case, cases

HEAD_END = b"\r\n\r\n"
# Every malformed body of a response in the corpus stands behind this chunk.
FIRST = b"3\r\nabc\r\n"

REQUESTS = cases(valid=False, response=False)
ALONE = [case for case in REQUESTS if not case.upstream and not case.sender_closes]
BODIES = [case for case in REQUESTS if case.upstream and not case.sender_closes]
RESPONSE_BODIES = [case for case in cases(valid=False, response=True) if FIRST in case.octets]


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    return front({HOST: listening.url, OTHER: listening.url}, limits=LIMITS)


def test_the_corpus_has_messages_of_each_kind() -> None:
    assert min(len(ALONE), len(BODIES), len(RESPONSE_BODIES)) > 20


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


@pytest.mark.parametrize("case", ALONE, ids=str)
def test_a_malformed_request_is_refused_behind_a_good_one(
    dial: Dial, origin: ScriptedOrigin, case: Case
) -> None:
    client = dial()
    client.send(get(b"/before", HOST))
    call = origin.accept()
    call.head()
    call.send(OK)
    assert client.message().content == b"ok"
    client.send(case.octets + get(b"/smuggled", HOST))
    assert refused(client) == int(case.answer)
    call.hang_up()
    assert call.ahead == b""
    assert serves_the_next(dial, origin)


@pytest.mark.parametrize("case", BODIES, ids=str)
def test_a_malformed_body_never_looks_complete_to_an_origin_that_has_its_head(
    dial: Dial, origin: ScriptedOrigin, case: Case
) -> None:
    client = dial()
    head, end, body = case.octets.partition(HEAD_END)
    client.send(head + end)
    call = origin.accept()
    assert call.head().values("transfer-encoding") == [b"chunked"]
    client.send(body)
    assert refused(client) == int(case.answer)
    with pytest.raises(StreamEndedError):
        call.chunks()


def begun(client: Client, origin: ScriptedOrigin, case: Case) -> tuple[Call, bytes]:
    """A response whose head and first chunk have been sent on, and what is malformed behind."""
    call = origin.accept()
    call.head()
    good, first, bad = case.octets.partition(FIRST)
    call.send(good + first)
    assert client.head().status == 200
    return call, bad


def said(call: Call, octets: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        call.send(octets)


@pytest.mark.parametrize("case", RESPONSE_BODIES, ids=str)
def test_a_malformed_body_of_a_response_aborts_the_client(
    dial: Dial, origin: ScriptedOrigin, case: Case
) -> None:
    client = dial()
    client.send(get(b"/", HOST))
    call, bad = begun(client, origin, case)
    assert client.chunk() == b"abc"
    said(call, bad)
    rest, clean = client.ending()
    assert not clean
    assert not rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("case", RESPONSE_BODIES, ids=str)
def test_a_malformed_body_looks_complete_to_no_client_of_http_1_0(
    dial: Dial, origin: ScriptedOrigin, case: Case
) -> None:
    """The end of the connection would be the end of the body: here it must not look like one."""
    client = dial()
    client.send(get(b"/", HOST).replace(b"HTTP/1.1", b"HTTP/1.0"))
    call, bad = begun(client, origin, case)
    assert client.exactly(3) == b"abc"
    said(call, bad)
    assert not client.ending().clean
