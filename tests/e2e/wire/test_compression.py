"""Answers that the proxy codes: when each piece arrives, how a whole one ends, and a broken one."""

from __future__ import annotations

import random

import pytest

from tests.decoder import Decoder
from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client, Dial
from tests.e2e.wire.flow import MIB, fill
from tests.http_client import get
from tests.message_stream import Head, StreamEndedError
from tests.programs import Hopward
from tests.scripted_origin import Call, ScriptedOrigin

CODINGS = [b"zstd", b"gzip"]
TEXT = b"Content-Type: text/plain\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + TEXT + b"Transfer-Encoding: chunked\r\n\r\n"
CONTENT = b"so much of the same thing, " * 1000
SIZED = OK + TEXT + b"Content-Length: %d\r\n" % len(CONTENT)
ROUNDS = 20
ENDLESS = 1024 * MIB
# What the kernel's buffers of both connections may hold.
KERNEL = 48 * MIB


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    routes = {"/plain/": {"compress": False}}
    return front({HOST: {"to": listening.url, "compress": True, "routes": routes}})


def wanting(coding: bytes, target: bytes = b"/", method: bytes = b"GET") -> bytes:
    return get(target, HOST, b"Accept-Encoding: " + coding, method=method)


def ask(dial: Dial, origin: ScriptedOrigin, request: bytes) -> tuple[Client, Call]:
    """A client whose request has reached the origin."""
    client = dial()
    client.send(request)
    call = origin.accept()
    call.head()
    return client, call


@pytest.mark.parametrize("coding", CODINGS)
def test_each_piece_can_be_read_before_the_next_is_sent(
    dial: Dial, origin: ScriptedOrigin, coding: bytes
) -> None:
    client, call = ask(dial, origin, wanting(coding))
    call.send(CHUNKED)
    assert client.head().value("content-encoding") == coding
    decoder = Decoder(coding)
    for number in range(ROUNDS):
        line = b"line %d\n" % number
        call.send(b"%x\r\n%b\r\n" % (len(line), line))
        assert decoder.decode(client.chunk()) == line
    call.send(b"0\r\n\r\n")
    decoder.decode(client.chunk())
    assert decoder.complete
    assert client.chunk() == b""


@pytest.mark.parametrize("coding", CODINGS)
def test_a_coded_answer_decodes_to_what_the_origin_sent_and_the_connection_lives_on(
    dial: Dial, origin: ScriptedOrigin, coding: bytes
) -> None:
    client, call = ask(dial, origin, wanting(coding))
    for _ in range(2):
        call.send(SIZED + b"\r\n" + CONTENT)
        message = client.message()
        assert message.head.value("transfer-encoding") == b"chunked"
        assert message.head.value("content-length") is None
        assert len(message.content) < len(CONTENT) / 10
        assert Decoder(coding).decode(message.content) == CONTENT
        client.send(wanting(coding))
        call.head()


@pytest.mark.parametrize("coding", CODINGS)
def test_half_a_coded_answer_aborts_the_client(
    dial: Dial, origin: ScriptedOrigin, coding: bytes
) -> None:
    client, call = ask(dial, origin, wanting(coding))
    call.send(SIZED + b"\r\n" + CONTENT[:-1])
    client.head()
    decoder = Decoder(coding)
    assert decoder.decode(client.chunk()) == CONTENT[:-1]
    call.close()
    with pytest.raises(StreamEndedError):
        client.chunk()
    assert not decoder.complete
    assert not client.ending().clean


@pytest.mark.parametrize("coding", CODINGS)
def test_the_origin_waits_for_who_reads_a_coded_answer_slowly(
    dial: Dial, origin: ScriptedOrigin, coding: bytes
) -> None:
    client, call = ask(dial, origin, wanting(coding))
    call.send(OK + TEXT + b"Content-Length: %d\r\n\r\n" % ENDLESS)
    client.head()
    block = random.Random(7).randbytes(MIB)
    sent = fill(call, block)
    assert sent < KERNEL
    decoder, decoded = Decoder(coding), 0
    while decoded < sent:
        piece = decoder.decode(client.chunk())
        assert piece == (block * 2)[decoded % MIB :][: len(piece)]
        decoded += len(piece)
    assert decoded == sent


def test_a_coded_answer_to_http_1_0_ends_with_its_connection(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    request = wanting(b"gzip").replace(b"HTTP/1.1", b"HTTP/1.0")
    client, call = ask(dial, origin, request)
    call.send(SIZED + b"\r\n" + CONTENT)
    head = client.head()
    assert head.value("connection") == b"close"
    assert head.value("transfer-encoding") is None
    octets, clean = client.ending()
    assert Decoder(b"gzip").decode(octets) == CONTENT
    assert clean


def without_framing(head: Head) -> list[tuple[bytes, bytes]]:
    return [pair for pair in head.fields if pair[0] not in (b"Transfer-Encoding", b"Date")]


def test_head_is_told_what_get_would_be(dial: Dial, origin: ScriptedOrigin) -> None:
    head = SIZED + b'ETag: "a"\r\nAccept-Ranges: bytes\r\n\r\n'
    client, call = ask(dial, origin, wanting(b"gzip", method=b"HEAD"))
    call.send(head)
    told = client.head()
    client.send(wanting(b"gzip"))
    call.head()
    call.send(head + CONTENT)
    got = client.message().head
    assert without_framing(told) == without_framing(got)
    assert got.values("etag") == [b'W/"a"']
    assert got.values("accept-ranges") == []


def test_the_origin_is_asked_for_what_the_client_wants_and_may_code_itself(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    client.send(wanting(b"br, gzip;q=0.5"))
    call = origin.accept()
    assert call.head().value("accept-encoding") == b"br, gzip;q=0.5"
    call.send(SIZED + b"Content-Encoding: br\r\n\r\n" + CONTENT)
    message = client.message()
    assert message.head.values("content-encoding") == [b"br"]
    assert message.content == CONTENT


@pytest.mark.parametrize(
    ("target", "wanted", "varies"),
    [(b"/", b"br", [b"Accept-Encoding"]), (b"/plain/", b"gzip", [])],
    ids=["a client without a coding", "a route without compression"],
)
def test_an_answer_that_is_not_coded_passes_as_it_is(
    dial: Dial, origin: ScriptedOrigin, target: bytes, wanted: bytes, varies: list[bytes]
) -> None:
    client, call = ask(dial, origin, wanting(wanted, target))
    call.send(SIZED + b"\r\n" + CONTENT)
    message = client.message()
    assert message.head.values("vary") == varies
    assert message.head.values("content-encoding") == []
    assert message.content == CONTENT


def test_an_event_stream_is_never_coded(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = ask(dial, origin, wanting(b"zstd, gzip"))
    call.send(CHUNKED.replace(b"text/plain", b"text/event-stream") + b"9\r\ndata: 1\n\n\r\n")
    assert client.head().values("content-encoding") == []
    assert client.chunk() == b"data: 1\n\n"


def test_a_range_is_never_coded(dial: Dial, origin: ScriptedOrigin) -> None:
    client, call = ask(dial, origin, wanting(b"zstd, gzip"))
    part = SIZED.replace(b"200 OK", b"206 Partial Content") + b"Content-Range: bytes 0-26999/*\r\n"
    call.send(part + b"\r\n" + CONTENT)
    message = client.message()
    assert message.head.values("content-encoding") == []
    assert message.content == CONTENT
