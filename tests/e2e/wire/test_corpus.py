"""The wire corpus before the running proxy, over TLS: each case whole and in single bytes.

The pure rooms read the same cases in tests/test_wire_corpus.py.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.client import Client, Dial
from tests.http_client import get
from tests.message_stream import StreamEndedError
from tests.programs import Hopward, alive
from tests.scripted_origin import OK, Call, ScriptedOrigin
from tests.wire.corpus import HOST, LIMITS, OTHER, Case, Whole, cases, expected_of, next_whole
from tests.wire.speaking import Pulse, Say, whole

# Cut into single bytes longer ones take seconds; the pure rooms read those as well.
LONG = 2500
SMUGGLED = get(b"/smuggled", HOST)


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    return front({HOST: listening.url, OTHER: listening.url}, limits=LIMITS)


@pytest.fixture(scope="module")
def pulse(proxy: Hopward) -> Iterator[Pulse]:
    assert proxy.http is not None
    with Pulse(proxy.http) as beating:
        yield beating


@pytest.fixture
def say(cut: bool, pulse: Pulse) -> Say:
    return pulse.bytewise if cut else whole


def each(*, valid: bool, response: bool) -> pytest.MarkDecorator:
    """Every case of a kind, whole and in single bytes."""
    kind = cases(valid=valid, response=response)
    return pytest.mark.parametrize(
        ("case", "cut"),
        [
            *(pytest.param(case, False, id=f"{case}-whole") for case in kind),
            *(pytest.param(it, True, id=f"{it}-bytewise") for it in kind if len(it.octets) < LONG),
        ],
    )


def answered(call: Call, *, method: bytes = b"GET") -> None:
    call.send(OK.removesuffix(b"ok") if method == b"HEAD" else OK)


def heard(origin: ScriptedOrigin) -> tuple[Call, Whole, int]:
    """The next whole request that the origin hears, and how many before it were cut."""
    cut = 0
    while True:
        call = origin.heard()
        try:
            return call, next_whole(call), cut
        except StreamEndedError:
            call.close()
            cut += 1


def serves_the_next(client: Client, origin: ScriptedOrigin, *, cut: int = 0) -> Call:
    """A good request is the next whole thing that the origin hears of."""
    client.send(get(b"/next", HOST))
    call, request, before = heard(origin)
    assert request.lines[0] == b"GET /next HTTP/1.1"
    assert before <= cut
    answered(call)
    message = next_whole(client)
    assert (message.lines[0], message.content) == (b"HTTP/1.1 200 OK", b"ok")
    return call


def ended_well(client: Client) -> None:
    """Nothing more comes, and its end is announced."""
    assert client.ending() == (b"", True)


# ---- single bytes

CHUNKED = b"Transfer-Encoding: chunked"


def chunks(stream: Client | Call) -> list[bytes]:
    return list(iter(stream.chunk, b""))


def test_in_single_bytes_the_proxy_reads_each_byte_on_its_own(
    dial: Dial, origin: ScriptedOrigin, pulse: Pulse
) -> None:
    """What it has read it passes on as a chunk, so the chunks show what it read at once."""
    client = dial()
    pulse.bytewise(client, get(b"/", HOST, CHUNKED, method=b"POST") + b"5\r\nhello\r\n0\r\n\r\n")
    call = origin.accept()
    call.head()
    call.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert chunks(call)[1:] == [b"e", b"l", b"l", b"o"]
    pulse.bytewise(call, b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n\r\n3\r\nyes\r\n0\r\n\r\n")
    client.head()
    assert chunks(client) == [b"y", b"e", b"s"]


# ---- requests


def served_as_expected(case: Case, client: Client, origin: ScriptedOrigin) -> None:
    """The origin sees what it should of each request of a case, and the client its answers."""
    for expected in case.upstream_sees:
        call, request, _ = heard(origin)
        assert request.like(expected) == expected
        method = request.lines[0].split(b" ")[0]
        answered(call, method=method)
        assert next_whole(client, bodiless=method == b"HEAD").lines[0] == b"HTTP/1.1 200 OK"
    if case.answer:
        assert next_whole(client).lines[0].split(b" ")[1] == case.answer.encode()


@each(valid=True, response=False)
def test_a_valid_request_reaches_the_origin_as_expected(
    case: Case, dial: Dial, origin: ScriptedOrigin, say: Say
) -> None:
    client = dial()
    say(client, case.octets)
    served_as_expected(case, client, origin)
    if case.client_closed:
        ended_well(client)
        client = dial()
    serves_the_next(client, origin)


@each(valid=False, response=False)
def test_an_invalid_request_is_refused_and_nothing_behind_it_is_served(
    case: Case, dial: Dial, origin: ScriptedOrigin, say: Say
) -> None:
    client = dial()
    if case.sender_closes:
        say(client, case.octets)
        client.wire.half_close()
    elif say is whole:
        say(client, case.octets + SMUGGLED)
    else:
        say(client, case.octets)
    if case.answer != "none":
        answer = next_whole(client)
        assert answer.lines[0].split(b" ")[1] == case.answer.encode()
        assert b"Connection: close" in answer.lines
        if say is not whole:
            say(client, SMUGGLED)
    ended_well(client)
    serves_the_next(dial(), origin, cut=case.upstream == "unfinished")


# ---- responses


def asked(case: Case, dial: Dial, origin: ScriptedOrigin) -> tuple[Client, Call]:
    client = dial()
    client.send(case.request)
    call, _, _ = heard(origin)
    call.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, call


def said(case: Case, call: Call, say: Say) -> None:
    say(call, case.octets)
    if case.sender_closes:
        with contextlib.suppress(OSError):
            call.half_close()


def looks_like_no_response(case: Case, client: Client, call: Call) -> None:
    """The client sees an abort or a 502, and the origin the end of its connection."""
    try:
        answer = final(client)
    except StreamEndedError:
        assert case.answer == "aborted"
        assert client.clean is False
    else:
        assert answer.lines[0] == b"HTTP/1.1 502 Bad Gateway"
    assert call.ending().rest == b""
    call.close()


@each(valid=True, response=True)
def test_a_valid_response_reaches_the_client_as_expected(
    case: Case, dial: Dial, origin: ScriptedOrigin, say: Say
) -> None:
    client, call = asked(case, dial, origin)
    said(case, call, say)
    seen = list(expected_of(client, case.client_sees, case.request.split(b" ")[0]))
    assert seen == [*case.client_sees]
    if case.upstream == "closed":
        if b" 101 " in seen[-1].lines[0]:
            call.half_close()
            client.wire.half_close()
        assert call.ending().rest == b""
        call.close()
    if case.client_closed:
        ended_well(client)
        client = dial()
    again = serves_the_next(client, origin)
    assert (again is call) is (case.upstream != "closed")


@each(valid=False, response=True)
def test_an_invalid_response_never_looks_like_one_to_the_client(
    case: Case, dial: Dial, origin: ScriptedOrigin, say: Say
) -> None:
    client, call = asked(case, dial, origin)
    said(case, call, say)
    looks_like_no_response(case, client, call)
    serves_the_next(dial(), origin)


def final(client: Client) -> Whole:
    """The final response. Raises StreamEndedError where it is cut."""
    while (message := next_whole(client)).lines[0].startswith(b"HTTP/1.1 1"):
        pass
    return message


def test_the_worker_that_heard_all_this_is_the_one_that_began(
    proxy: Hopward, dial: Dial, origin: ScriptedOrigin
) -> None:
    serves_the_next(dial(), origin)
    assert [alive(pid) for pid in proxy.workers()] == [True]
    assert not proxy.says("Traceback|worker_(died|restarted)")
