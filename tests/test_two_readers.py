"""Two readers of one message: whatever passes the gate, h11 reads identically.

Where two readers disagree on what a message is or where it ends, requests are smuggled. The gate
may be stricter than h11; it may never read something else.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import h11
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.body import Body
from proxy.config import Limits
from proxy.errors import ClientError, UpstreamError
from proxy.head import HeadBuffer, read_request, read_response

LIMIT = 16 * 1024

TOKEN = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8).map(str.encode)
VALUE = st.lists(
    st.binary(max_size=6).map(lambda octets: bytes(b for b in octets if b >= 0x20 and b != 0x7F))
    | st.sampled_from([b" ", b"\t", b"close", b"a, b", b'"q"']),
    max_size=3,
).map(b"".join)
BLANKS = st.sampled_from([b"", b" ", b"\t", b" \t "])
NAMES = st.sampled_from([b"Accept", b"COOKIE", b"x-y", b"Connection", b"Expect", b"TE"]) | TOKEN
FIELD = st.tuples(NAMES, BLANKS, VALUE, BLANKS).map(lambda p: p[0] + b":" + b"".join(p[1:]))
TARGET = st.text(
    [chr(code) for code in range(0x21, 0x7F) if chr(code) != "#"], max_size=10
).map(lambda text: b"/" + text.encode())  # fmt: skip
DATA = st.binary(max_size=40)


def chunks(draw: st.DrawFn) -> bytes:
    size_end = st.sampled_from([b"", b"", b";a", b';a="b"', b";\xff "])
    pieces = draw(st.lists(st.tuples(st.binary(min_size=1, max_size=20), size_end), max_size=3))
    body = [b"%X%b\r\n%b\r\n" % (len(piece), end, piece) for piece, end in pieces]
    trailers = draw(st.lists(FIELD, max_size=2))
    return b"".join([*body, b"0\r\n", *(line + b"\r\n" for line in trailers), b"\r\n"])


class Written(NamedTuple):
    """A message as it may be sent: everything that belongs to it, in one."""

    head: bytes
    body: bytes


@st.composite
def messages(draw: st.DrawFn, first_line: st.SearchStrategy[bytes], host: bytes) -> Written:
    line = draw(first_line)
    lines = [host] if host else []
    lines += draw(st.lists(FIELD, max_size=3))
    body = b""
    # Neither a request nor a response of HTTP/1.0 may be chunked (RFC 9112 §6.1).
    framings = ["none", "length"] if b"HTTP/1.0" in line else ["none", "length", "chunked"]
    framing = draw(st.sampled_from(framings))
    if framing == "length":
        body = draw(DATA)
        lines.append(b"content-length: %d" % len(body))
    elif framing == "chunked":
        body = chunks(draw)
        lines.append(b"Transfer-Encoding: Chunked")
    head = [line, *draw(st.permutations(lines)), b"", b""]
    return Written(b"\r\n".join(head), body)


VERSION = st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"])
REQUESTS = messages(
    st.tuples(TOKEN, TARGET, VERSION).map(lambda p: b"%b %b HTTP/%b" % p), b"Host: a.example:8443"
)
STATUS = st.sampled_from([b"200", b"204", b"304", b"404", b"500", b"599"])
REASON = st.sampled_from([b"", b" ", b" OK", b" Not\tFound", b" \xe4"])
RESPONSES = messages(
    st.tuples(VERSION, STATUS, REASON).map(lambda p: b"HTTP/%b %b%b" % p), b""
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, written: st.SearchStrategy[Written]) -> bytes:
    """A message with a byte or two taken out, put in or exchanged."""
    octets = b"".join(draw(written))
    for _ in range(draw(st.integers(1, 2))):
        at, gone = draw(st.integers(0, len(octets))), draw(st.integers(0, 2))
        new = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b":", b"0", b"\x00", b"\x0b"])
        )
        octets = octets[:at] + new + octets[at + gone :]
    # The one thing that the gate takes and h11 refuses: a blank before an extension (RFC 9112
    # §7.1.1). Both know where the chunk ends.
    assume(not re.search(rb"[0-9A-F][ \t]+;", octets))
    return octets


class Read(NamedTuple):
    """What a reader makes of a message; `complete` unless its end has not come yet."""

    first_line: tuple[bytes | int, ...]
    fields: list[tuple[bytes, bytes]]
    body: bytes
    trailers: list[tuple[bytes, bytes]]
    complete: bool


# ---- the two readers


def gate_reads_request(octets: bytes) -> Read:
    """Raises ClientError or ValueError."""
    heads = HeadBuffer(LIMIT)
    head = heads.take(octets)
    if head is None:
        raise ValueError("no whole head")
    read = read_request(head)
    body = Body.of_request(read, Limits())
    return _read((read.method, read.target, read.version), read.fields.lines, body, heads.data)


def gate_reads_response(octets: bytes, *, method: bytes) -> Read:
    """Raises UpstreamError or ValueError."""
    heads = HeadBuffer(LIMIT)
    head = heads.take(octets)
    if head is None:
        raise ValueError("no whole head")
    read = read_response(head, bodiless=method == b"HEAD")
    body = Body.of_response(read, Limits())
    return _read((read.status, read.version), read.fields.lines, body, heads.data, ended=True)


def _read(
    line: tuple[bytes | int, ...], fields: Any, body: Body, data: bytes, *, ended: bool = False
) -> Read:
    content = b"" if body.done else body.read(data)
    complete = body.end() if ended else body.done
    trailers = list(body.trailers.lines) if body.chunked else []
    return Read(line, _codings_lower(fields), content, trailers, complete)


def h11_reads_request(octets: bytes) -> Read:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)
    connection.receive_data(octets)
    request = connection.next_event()
    assert isinstance(request, h11.Request), request
    line = (request.method, request.target, request.http_version)
    return _rest_of(connection, line, list(request.headers))


def h11_reads_response(octets: bytes, *, method: bytes) -> Read:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LIMIT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(octets)
    response = connection.next_event()
    assert isinstance(response, h11.Response), response
    connection.receive_data(b"")
    line = (response.status_code, response.http_version)
    return _rest_of(connection, line, list(response.headers))


def _rest_of(
    connection: h11.Connection, line: tuple[bytes | int, ...], fields: list[tuple[bytes, bytes]]
) -> Read:
    content = bytearray()
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            if "closed connection" not in str(error):
                raise
            return Read(line, _codings_lower(fields), bytes(content), [], False)
        if isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            trailers = list(event.headers)
            return Read(line, _codings_lower(fields), bytes(content), trailers, True)
        else:
            assert event is h11.NEED_DATA, event
            return Read(line, _codings_lower(fields), bytes(content), [], False)


def _codings_lower(fields: Any) -> list[tuple[bytes, bytes]]:
    # h11 gives the coding in lower case.
    return [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in fields]


# ---- the law


@settings(max_examples=150, deadline=None)
@given(REQUESTS)
def test_a_valid_request_passes_and_is_what_h11_reads(written: Written) -> None:
    octets = b"".join(written)
    assert gate_reads_request(octets) == h11_reads_request(octets)


@settings(max_examples=300, deadline=None)
@given(damaged(REQUESTS))
def test_a_damaged_request_is_refused_or_is_what_h11_reads(octets: bytes) -> None:
    try:
        ours = gate_reads_request(octets)
    except (ClientError, ValueError):
        return
    if ours.complete:
        assert ours == h11_reads_request(octets)


@settings(max_examples=150, deadline=None)
@given(RESPONSES, st.sampled_from([b"GET", b"GET", b"HEAD"]))
def test_a_valid_response_passes_and_is_what_h11_reads(written: Written, method: bytes) -> None:
    octets = b"".join(written)
    assert gate_reads_response(octets, method=method) == h11_reads_response(octets, method=method)


@settings(max_examples=300, deadline=None)
@given(damaged(RESPONSES))
def test_a_damaged_response_is_refused_or_is_what_h11_reads(octets: bytes) -> None:
    try:
        ours = gate_reads_response(octets, method=b"GET")
    except (UpstreamError, ValueError):
        return
    if ours.complete:
        assert ours == h11_reads_response(octets, method=b"GET")
