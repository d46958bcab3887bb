"""h11 beside the gate, over the wire corpus: what goes on, h11 reads as it is meant.

tests/test_two_readers.py does the same for messages that nobody wrote down.
"""

from __future__ import annotations

import h11
import pytest

from tests.message_stream import FieldLines, Head
from tests.wire.corpus import Case, Whole, cases
from tests.wire.rooms import Requests, Response

LIMIT = 64 * 1024
LENIENT = {case.name: case for case in cases(valid=False, response=False)}

# What h11 takes for a whole message, or for the beginning of one, and the gate refuses.
LET_THROUGH_BY_H11 = [
    "request-framing-length-and-coding",
    "request-framing-coding-and-length",
    "request-coding-in-1-0",
    "request-syntax-lf-everywhere",
    "request-syntax-folded-by-blank",
    "request-syntax-control-in-value",
    "request-body-extension-cr",
    "request-body-trailers-length",
    "request-body-trailers-host",
    "request-host-list",
    "request-host-url",
]


def fields_of(lines: FieldLines) -> FieldLines:
    """Fields as h11 gives them: names, and the value of a coding, in lower case."""
    return [
        (name.lower(), value.lower() if name.lower() == b"transfer-encoding" else value)
        for name, value in lines
    ]


def first_request(octets: bytes) -> tuple[Whole, bytes]:
    """What h11 reads of the first request, and the octets behind it. Raises RemoteProtocolError."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)
    server.receive_data(octets)
    request = server.next_event()
    assert isinstance(request, h11.Request), request
    line = b"%b %b HTTP/%b" % (request.method, request.target, request.http_version)
    return rest_of(server, line, list(request.headers)), server.trailing_data[0]


def rest_of(connection: h11.Connection, line: bytes, fields: FieldLines) -> Whole:
    content = b""
    while isinstance(event := connection.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage), event
    lines = [b"%b: %b" % pair for pair in fields_of(fields)]
    return Whole((line, *lines), content, list(event.headers))


def as_h11_reads(message: Whole) -> Whole:
    """A message that was read plainly, in the words of h11."""
    line, fields = Head.of(b"\r\n".join(message.lines))
    lines = [b"%b: %b" % pair for pair in fields_of(fields)]
    return Whole((line, *lines), message.content, fields_of(message.trailers))


def likened(read: Whole, expected: Whole) -> Whole:
    """The same, with the request's id that `expected` leaves open."""
    lines = [b"x-request-id: {id}" if b"x-request-id: " in it else it for it in read.lines]
    given = b"x-request-id: {id}" in expected.lines
    return read._replace(lines=tuple(lines)) if given else read


@pytest.mark.parametrize(
    "case", [it for it in cases(valid=True, response=False) if not it.answer], ids=str
)
def test_h11_behind_the_gate_reads_the_requests_that_are_expected(case: Case) -> None:
    requests = Requests()
    requests.receive(case.octets)
    octets = bytes(requests.sent)
    for expected in map(as_h11_reads, case.upstream_sees):
        read, octets = first_request(octets)
        assert likened(read, expected) == expected
    assert octets == b""


@pytest.mark.parametrize(
    "case",
    [it for it in cases(valid=True, response=True) if not it.name.startswith("response-101")],
    ids=str,
)
def test_h11_behind_the_gate_reads_the_responses_that_are_expected(case: Case) -> None:
    response = Response(case.request)
    response.receive(case.octets)
    if case.sender_closes:
        response.end()
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=LIMIT)
    client.send(h11.Request(method=response.request.method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(response.sent)
    client.receive_data(b"")
    for expected in map(as_h11_reads, case.client_sees):
        assert next_response(client).like(dated(expected)) == dated(expected)


def next_response(client: h11.Connection) -> Whole:
    event = client.next_event()
    assert isinstance(event, h11.Response | h11.InformationalResponse), event
    line = b"HTTP/1.1 %d %b" % (event.status_code, event.reason)
    if isinstance(event, h11.InformationalResponse):
        return Whole((line, *[b"%b: %b" % pair for pair in event.headers]), b"", [])
    return rest_of(client, line, list(event.headers))


def dated(expected: Whole) -> Whole:
    known = [
        b"date: Sun, 06 Nov 1994 08:49:37 GMT" if b"{date}" in it else it for it in expected.lines
    ]
    return expected._replace(lines=tuple(known))


@pytest.mark.parametrize("name", LET_THROUGH_BY_H11)
def test_the_gate_refuses_what_h11_lets_through(name: str) -> None:
    """Should h11 refuse one of them some day, its line here is to go."""
    case, requests = LENIENT[name], Requests()
    first_request(case.octets)
    requests.receive(case.octets)
    assert requests.refusal == 400
