"""Laws of the pure rooms that hold for any octets; each target raises where its law is broken.

Law: a target asserts more than that nothing crashes. What is refused is refused in the room's own
words; what is accepted means the same to another reader, and however it was cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NamedTuple

import h11

from proxy import access_log
from proxy.access_log import Common, Own
from proxy.chunked import ChunkedReader, chunk, last_chunk
from proxy.config.document import Document, NotYamlError
from proxy.errors import ClientError, UpstreamError
from proxy.fields import HOP_BY_HOP, end_to_end, forwarded_client, upgrade_asked
from proxy.frames import Frames, close_frame
from proxy.head import read_fields
from proxy.proxy_protocol import Header, read_header, written_header
from proxy.redaction import Redaction
from tests.test_two_readers import (
    gate_reads_request,
    gate_reads_response,
    h11_reads_request,
    h11_reads_response,
)
from tests.wire.rooms import Requests, Response

# The one thing that the gate takes and h11 refuses: a blank before an extension (RFC 9112 §7.1.1).
_BLANK_BEFORE_EXTENSION = re.compile(rb"[0-9A-Fa-f][ \t]+;")
_ABSOLUTE = re.compile(rb"https?://[^/?]*", re.IGNORECASE)

SECRET = b"5ecReT"
_MASKED = Redaction(["token", "api-key", "/announce/"]).masked
_GET = b"GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n"


def request(octets: bytes) -> None:
    """What the gate takes, h11 reads identically."""
    try:
        ours = gate_reads_request(octets)
    except (ClientError, ValueError):
        return
    if ours.complete and not _BLANK_BEFORE_EXTENSION.search(octets):
        theirs = h11_reads_request(octets)
        assert ours == theirs._replace(first_line=_origin_form(theirs.first_line))


def response(octets: bytes) -> None:
    """What the gate takes of an origin, h11 reads identically, also in answer to HEAD."""
    method = b"HEAD" if octets[:1] == b"H" else b"GET"
    try:
        ours = gate_reads_response(octets[1:], method=method)
    except (UpstreamError, ValueError):
        return
    informational = isinstance(ours.first_line[0], int) and ours.first_line[0] < 200
    if ours.complete and not informational and not _BLANK_BEFORE_EXTENSION.search(octets):
        assert ours == h11_reads_response(octets[1:], method=method)


def requests(octets: bytes) -> None:
    """What goes on is the same however it came, and h11 finds as many requests in it."""
    at_once, cut = Requests(), Requests()
    at_once.receive(octets)
    _fed(cut.receive, octets)
    assert (at_once.refusal, at_once.whole) == (cut.refusal, cut.whole)
    found = found_by_h11(bytes(at_once.sent))
    assert found == found_by_h11(bytes(cut.sent))
    assert len(found) == at_once.whole


def responses(octets: bytes) -> None:
    """What a client hears is the same however it came, and is never whole where it is not."""
    at_once, cut = Response(_GET), Response(_GET)
    at_once.receive(octets)
    _fed(cut.receive, octets)
    for each in (at_once, cut):
        each.end()
    assert at_once.switched == cut.switched
    assert (at_once.refused or at_once.broken) == (cut.refused or cut.broken)
    if at_once.reply is not None and not at_once.broken:
        assert _h11_hears(at_once.sent) == _h11_hears(cut.sent)
    if cut.broken and b"ransfer-Encoding: chunked" in cut.sent:
        assert not cut.sent.endswith(b"\r\n0\r\n\r\n") or b"\r\n0\r\n\r\n" in octets


def chunked(octets: bytes) -> None:
    """Content is the same however it came; framed anew it is the same content."""
    at_once = _dechunked([octets])
    assert at_once == _dechunked([octets[at : at + 1] for at in range(len(octets))])
    if at_once is None or not at_once[1]:
        return
    content = at_once[0]
    again = (chunk(content) if content else b"") + last_chunk(b"")
    assert _dechunked([again]) == (content, True, b"")


def frames(octets: bytes) -> None:
    """Frames end where RFC 6455 says, however they came, and a Close fits in between."""
    at_once, cut = Frames(), Frames()
    at_once.follow(octets)
    _fed(cut.follow, octets)
    assert (at_once.between, at_once.closed) == (cut.between, cut.closed)
    if not at_once.between:
        owed = octets + b"\0" * 16
        rest = at_once.rest_of_frame(b"\0" * 16)
        assert 0 < rest <= 16
        assert not at_once.closed or owed
    else:
        at_once.follow(close_frame(masked=bool(octets[:1] > b"\x7f")))
        assert at_once.between
        assert at_once.closed


def fields(octets: bytes) -> None:
    """No hop-by-hop field passes, and an address is one whatever a field says."""
    block = read_fields(octets)
    if block is None:
        return
    named = {name for name in block.elements(b"connection") if not name.startswith(b"x-forwarded-")}
    passed = {name.lower() for name, _ in end_to_end(block, frozenset({b"x-dropped"}))}
    assert not passed & (HOP_BY_HOP | named | {b"content-length", b"host", b"x-dropped"})
    assert b"h2c" not in {name.lower() for name in upgrade_asked(b"1.1", block)}
    peer = "10.0.0.1"
    found = forwarded_client(peer, block, [ip_network("10.0.0.0/8")])
    assert str(ip_address(found)) == found


def announced(octets: bytes) -> None:
    """A PROXY header is whole or not there, however it came, and can be said again."""
    header = _header(octets)
    for end in range(min(len(octets), 300)):
        sooner = _header(octets[:end])
        assert sooner in (None, header, "malformed")
        if sooner == "malformed":
            assert header == "malformed"
    if isinstance(header, Header) and header.endpoints is not None:
        for version in ("v1", "v2"):
            said = written_header(version, header.endpoints)
            assert read_header(said) == Header(header.endpoints, len(said))


def redaction(octets: bytes) -> None:
    """A line of the log is one line of JSON without the secret, whatever stands around it."""
    octets = bytes(each for each in octets if 0x21 <= each <= 0x7E and each != 0x23)
    names = (b"token", b"TOKEN", b"t%6fken", b"%74oken[x]", b"api-key")
    name = names[len(octets) % len(names)]
    target = b"/" + octets + b"&?"[len(octets) % 2 :][:1] + name + b"=" + SECRET + b"&b=1"
    if b"?" not in target:
        target = target.replace(b"&" + name, b"?" + name)
    _logged(target, query=True)
    _logged(b"/" + octets.replace(b"?", b"") + b"/announce/" + SECRET, query=False)


def document(octets: bytes) -> None:
    """A configuration is read or its problems stand within its text."""
    try:
        read = Document.read(octets, "hopward.yml", {"HOME": "/"})
    except NotYamlError as error:
        problems = [error.problem]
    else:
        problems = read.problems
        for place in read.key_places():
            assert read.written(place) == place
    lines = (
        octets.count(b"\n") + octets.count(b"\r") + len(re.findall(rb"\xc2\x85|\xe2\x80", octets))
    )
    for problem in problems:
        assert 1 <= problem.line <= lines + 2
        assert problem.column >= 1
        assert problem.message


H11Head = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]


class Target(NamedTuple):
    """What is tried, and the modules whose coverage guides it."""

    test: Callable[[bytes], None]
    longest: int


TARGETS = {
    "request": Target(request, 400),
    "response": Target(response, 400),
    "requests": Target(requests, 500),
    "responses": Target(responses, 400),
    "chunked": Target(chunked, 200),
    "frames": Target(frames, 100),
    "fields": Target(fields, 300),
    "announced": Target(announced, 200),
    "redaction": Target(redaction, 200),
    "document": Target(document, 300),
}
CORPUS = Path(__file__).with_name("corpus")


def seeds(name: str) -> list[Path]:
    """The saved inputs of a target, in the order of their names."""
    return sorted(CORPUS.joinpath(name).iterdir())


# ---- how they look


def _fed(receive: Callable[[bytes], object], octets: bytes) -> None:
    for at in range(len(octets)):
        receive(octets[at : at + 1])


def _dechunked(pieces: list[bytes]) -> tuple[bytes, bool, bytes] | None:
    """Content, whether it is whole, and what came behind; None where it is malformed."""
    reader, content, rest = (
        ChunkedReader(request=True, trailers_limit=200),
        bytearray(),
        bytearray(),
    )
    try:
        for piece in pieces:
            if reader.done:
                rest += piece
                continue
            content += reader.read(piece)
            rest += reader.rest
    except ValueError:
        return None
    return bytes(content), reader.done, bytes(rest)


def found_by_h11(octets: bytes) -> list[tuple[H11Head, bytes]]:
    """The whole requests that h11 finds in what goes on to an origin: head and content."""
    found, content = list[tuple[H11Head, bytes]](), b""
    connection = h11.Connection(h11.SERVER)
    if octets:  # to h11 nothing would be the end
        connection.receive_data(octets)
    while (event := connection.next_event()) is not h11.NEED_DATA:
        if isinstance(event, h11.Request):
            head, content = (event.method, event.target, tuple(event.headers)), b""
        elif isinstance(event, h11.Data):
            content += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            found.append((head, content))
            connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
    return found


def _h11_hears(octets: bytes) -> tuple[int, bytes, bool]:
    """Status and content of the final response, and whether h11 takes it for whole."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    if octets:
        connection.receive_data(octets)
    status, content = 0, bytearray()
    while (event := connection.next_event()) is not h11.NEED_DATA:
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(content), True
    return status, bytes(content), False


def _origin_form(line: tuple[bytes | int, ...]) -> tuple[bytes | int, ...]:
    """A request line with the target as it goes on (RFC 9112 §3.2.2)."""
    method, target, version = line
    assert isinstance(target, bytes)
    if (absolute := _ABSOLUTE.match(target)) is None or method == b"CONNECT":
        return line
    rest = target[absolute.end() :]
    whole = b"*" if not rest and method == b"OPTIONS" else rest
    return method, whole if whole[:1] in (b"/", b"*") else b"/" + whole, version


def _header(octets: bytes) -> Header | str | None:
    try:
        return read_header(octets)
    except ValueError:
        return "malformed"


def _logged(target: bytes, *, query: bool) -> None:
    masked = _MASKED(target)
    common = Common(
        "a.example", "127.0.0.1", b"GET", b"1.1", 200, None, "TLSv1.3", "X25519", resumed=False
    )
    own = Own(0.5, b"7f", target, 1, 2, 0.5, None)
    for line in (access_log._json, access_log._text):
        text = line(common, own, ("", ""), masked)
        assert text.endswith("\n")
        assert text.count("\n") == 1
        assert text.isascii()
        assert SECRET.decode() not in text
    told = json.loads(access_log._json(common, own, ("2026-01-01T00:00:00", ""), masked))
    assert told["target"].startswith("/")
    assert query or b"/announce/" in target
