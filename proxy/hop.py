"""A head as it goes on to the next hop (RFC 9110 §7.6), and a request's body. Pure.

Law: framing and connection fields are always written here, for this hop, and never copied.
"""

from collections.abc import Sequence
from typing import NamedTuple

from .body import Body
from .chunked import chunk, last_chunk
from .errors import ClientError
from .fields import (
    FieldRules,
    end_to_end,
    own_lines,
    request_lines,
    response_lines,
    sender_lines,
    trailer_announcement,
    trailer_lines,
)
from .head import Fields, RequestHead, ResponseHead, remembered


class Sender(NamedTuple):
    """Who a request is from.

    `address` is the client's, `trusted` whether the peer that brought it is a trusted proxy.
    """

    address: str
    request_id: bytes
    trusted: bool


def request_line(request: RequestHead, host: bytes) -> bytes:
    """The first line and the Host field of a request, without their last line end."""
    return b"%b %b HTTP/1.1\r\nHost: %b" % (request.method, request.target, host)


def request_after_host(
    request: RequestHead, rules: FieldRules, sender: Sender, upgrade: tuple[bytes, ...]
) -> bytes:
    """All of a request's head behind the value of Host, which depends on the origin chosen.

    `upgrade`: the protocols asked for, empty where none may be.
    """
    before, behind = lines_around_sender(
        request.fields, rules, request.version, request.host, upgrade, sender.trusted
    )
    said = sender_lines(sender.address, sender.request_id, rules.request_dropped)
    return b"\r\n%b%b%b\r\n" % (before, said, behind)


def request_piece(
    body: Body, data: bytes | memoryview, fields: Fields, dropped: frozenset[bytes]
) -> tuple[bytes | memoryview, int]:
    """What `data` of a request's body becomes for the next hop, and how much content it holds.

    `fields` are the request's, `dropped` those that its route drops, of trailers too. Raises
    ClientError where the body is malformed or too large.
    """
    if not body.chunked:
        payload = body.read_plain(data)
        return payload, len(payload)
    try:
        content = body.read(bytes(data))
    except ValueError as error:
        raise ClientError(400, "the request body is malformed") from error
    piece = chunk(content) if content else b""
    if body.done:
        piece += last_chunk(trailer_lines(body.trailers, fields, dropped))
    return piece, len(content)


@remembered
def lines_around_sender(
    fields: Fields,
    rules: FieldRules,
    version: bytes,
    host: bytes,
    upgrade: tuple[bytes, ...],
    trusted: bool,
) -> tuple[bytes, bytes]:
    """The lines that are the same for all requests with the same fields: before and behind those
    that say who sends it, Host not among them."""
    return (
        request_lines(fields, rules, trusted=trusted)
        + own_lines(version, host, rules.request_dropped),
        _request_framing(fields, version, upgrade),
    )


def interim_head(response: ResponseHead, own: bytes = b"") -> bytes:
    """A 1xx head: no field of ours but `own`, and no body (RFC 9110 §15.2)."""
    kept = [b"%b: %b\r\n" % pair for pair in end_to_end(response.fields, frozenset())]
    return b"HTTP/1.1 %d%b\r\n%b%b\r\n" % (
        response.status,
        response.reason,
        b"".join(kept),
        own,
    )


def switching_head(response: ResponseHead) -> bytes:
    """A 101 head with the protocol it switches to (RFC 9110 §7.8)."""
    protocols = b", ".join(response.fields.values(b"upgrade"))
    return interim_head(response, b"Connection: Upgrade\r\nUpgrade: %b\r\n" % protocols)


def final_head(
    response: ResponseHead,
    rules: FieldRules,
    date: bytes,
    *,
    chunked: bool,
    persist: bool,
    version: bytes,
) -> bytes:
    """A final response's head for a client of `version`, whose body goes on in chunks or as is."""
    bodiless = response.status == 204
    return b"HTTP/1.1 %d%b\r\n%b" % (
        response.status,
        response.reason,
        _final_lines(response.fields, rules, date, chunked, persist, version, bodiless),
    )


@remembered
def _final_lines(
    fields: Fields,
    rules: FieldRules,
    date: bytes,
    chunked: bool,
    persist: bool,
    version: bytes,
    bodiless: bool,
) -> bytes:
    """What is the same for all responses with the same field lines, within one second."""
    lines = [response_lines(fields, rules, date)]
    if chunked:
        lines.append(b"Transfer-Encoding: chunked\r\n" + trailer_announcement(fields))
    elif not bodiless:
        # Of HEAD and 304 it is the length that a GET's body would have (RFC 9110 §8.6).
        lengths = fields.values(b"content-length")
        lines += [b"Content-Length: %d\r\n" % int(value) for value in lengths]
    if not persist:
        lines.append(b"Connection: close\r\n")
    elif version == b"1.0":
        lines.append(b"Connection: keep-alive\r\n")
    return b"".join(lines) + b"\r\n"


def _request_framing(fields: Fields, version: bytes, upgrade: Sequence[bytes]) -> bytes:
    """Framing as `head` has judged it: chunked, or the one length there is, or none."""
    lines = []
    if fields.values(b"transfer-encoding"):
        lines.append(b"Transfer-Encoding: chunked\r\n" + trailer_announcement(fields))
    lines += [b"Content-Length: %d\r\n" % int(size) for size in fields.values(b"content-length")]
    if version == b"1.1":
        lines += [b"Expect: %b\r\n" % value for value in fields.values(b"expect")]
    if upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % b", ".join(upgrade))
    elif version == b"1.1" and b"trailers" in fields.elements(b"te"):
        lines.append(b"Connection: TE\r\nTE: trailers\r\n")
    return b"".join(lines)
