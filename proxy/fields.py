"""Which fields pass, which are rebuilt, which are added (RFC 9110 §7.6). Pure.

Law: a hop-by-hop field never crosses the proxy; it is consumed here and made anew for the next hop.
What the proxy says of the client (address, scheme, host) is said by the proxy alone: a client's own
claim is dropped unless it comes from a trusted proxy.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from .config import Route
from .head import Fields, RequestHead, remembered

Network = IPv4Network | IPv6Network

# RFC 9110 §7.6.1; Keep-Alive and Proxy-Connection are not registered but sent.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# Framing and routing are decided in `head` and written anew by whoever sends the message on.
_REWRITTEN = HOP_BY_HOP | {b"content-length", b"host"}
# Said by the proxy of every request, trusted sender or not; Expect only where both ends know it.
_OWN = frozenset(
    (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id", b"expect")
)
_CLAIMS = frozenset((b"forwarded", b"x-real-ip"))
# What a trusted proxy says of the client, Connection may not take away again.
_FORWARDED = b"x-forwarded-"
# Echoed into a log and an error body: what a trusted proxy sends as an id must be harmless there.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(frozen=True, slots=True, eq=False)
class FieldRules:
    """What a route's `request_headers`, `response_headers` and `hsts` say, ready to apply.

    Names are lower case; the lines end with CRLF each. `compress`: answers may be coded here, which
    the operator's own Content-Encoding rules out.
    """

    request_dropped: frozenset[bytes]
    request_lines: bytes
    response_dropped: frozenset[bytes]
    response_lines: bytes
    compress: bool = False

    @classmethod
    def of(cls, route: Route) -> "FieldRules":
        """The rules of one route."""
        response = dict(route.response_headers)
        if route.hsts is not None:
            response.setdefault("Strict-Transport-Security", f"max-age={route.hsts}")
        dropped = _names(response)
        compress = route.compress and b"content-encoding" not in dropped
        # The proxy's own password is no origin's business: Grafana would try to log in by it.
        consumed = {b"authorization"} if route.basic_auth else frozenset()
        return cls(
            _names(route.request_headers).union(consumed),
            _lines(route.request_headers),
            dropped,
            _lines(_varying(response) if compress else response),
            compress,
        )


def _varying(rules: Mapping[str, str | None]) -> Mapping[str, str | None]:
    """The operator's own Vary names what the proxy's choice depends on, or caches would mix up."""
    return {
        name: f"{value}, Accept-Encoding" if value and name.lower() == "vary" else value
        for name, value in rules.items()
    }


def _names(rules: Mapping[str, str | None]) -> frozenset[bytes]:
    return frozenset(name.lower().encode("ascii") for name in rules)


def _lines(rules: Mapping[str, str | None]) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in rules.items() if value is not None]
    return "".join(lines).encode("utf-8")


def end_to_end(fields: Fields, dropped: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """The fields that cross the proxy as (name as sent, value), in their order.

    Left out are hop-by-hop fields, those that Connection names, framing, Host, and `dropped`.
    """
    named = [name for name in fields.elements(b"connection") if not name.startswith(_FORWARDED)]
    out = _REWRITTEN.union(dropped, named)
    return [
        (spelled, value)
        for spelled, (name, value) in zip(fields.spelled, fields.lines, strict=True)
        if name not in out
    ]


def request_lines(fields: Fields, rules: FieldRules, *, trusted: bool) -> bytes:
    """The lines of a request that go upstream whoever sends it, Host and framing not among them.

    `trusted`: it came from a trusted proxy, so what that says beside our own fields is kept.
    """
    kept = [
        b"%b: %b\r\n" % pair
        for pair in end_to_end(fields, rules.request_dropped)
        if not _is_claim(pair[0], trusted=trusted)
    ]
    return b"".join(kept) + rules.request_lines


def _is_claim(spelled: bytes, *, trusted: bool) -> bool:
    # CGI and WSGI origins read X_Forwarded_For as X-Forwarded-For.
    name = spelled.lower().replace(b"_", b"-")
    if name in _OWN:
        return True
    return not trusted and (name in _CLAIMS or name.startswith(_FORWARDED))


def own_lines(version: bytes, host: bytes, overridden: frozenset[bytes]) -> bytes:
    """What the proxy says of a request whoever sent it: Via, X-Forwarded-Proto and -Host.

    `overridden`: names for which the operator has set or removed a field himself.
    """
    lines = (
        (b"via", b"Via: %b hopward\r\n" % version),
        (b"x-forwarded-proto", b"X-Forwarded-Proto: https\r\n"),
        (b"x-forwarded-host", b"X-Forwarded-Host: %b\r\n" % host),
    )
    return b"".join([line for name, line in lines if name not in overridden])


def sender_lines(client: str, request_id: bytes, overridden: frozenset[bytes]) -> bytes:
    """What the proxy says of one request's sender: X-Forwarded-For and X-Request-ID."""
    lines = b""
    if b"x-forwarded-for" not in overridden:
        lines = b"X-Forwarded-For: %b\r\n" % client.encode("ascii")
    if b"x-request-id" not in overridden:
        lines += b"X-Request-ID: %b\r\n" % request_id
    return lines


def request_id_of(fields: Fields) -> bytes | None:
    """The id that a trusted proxy gave the request, if it is one that can be logged."""
    values = fields.values(b"x-request-id")
    return values[0] if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]) else None


def response_lines(fields: Fields, rules: FieldRules, date: bytes) -> bytes:
    """The lines of a response that go to the client, framing not among them.

    `date` is added where the origin sent none (RFC 9110 §6.6.1).
    """
    pairs = end_to_end(fields, rules.response_dropped)
    if b"date" not in rules.response_dropped and not any(_is_date(name) for name, _ in pairs):
        pairs.append((b"Date", date))
    return b"".join([b"%b: %b\r\n" % pair for pair in pairs]) + rules.response_lines


def _is_date(spelled: bytes) -> bool:
    return len(spelled) == 4 and spelled.lower() == b"date"


def trailer_lines(trailers: Fields, head: Fields, dropped: frozenset[bytes]) -> bytes:
    """The trailer fields that pass: not hop-by-hop, named by Connection, a claim, or `dropped`."""
    kept = [
        b"%b: %b\r\n" % pair
        for pair in end_to_end(trailers, dropped.union(head.elements(b"connection")))
        if not _is_claim(pair[0], trusted=False)
    ]
    return b"".join(kept)


def trailer_announcement(fields: Fields) -> bytes:
    """The Trailer field, made anew for a message that goes on in chunks (RFC 9110 §6.6.2)."""
    return b"".join([b"Trailer: %b\r\n" % value for value in fields.values(b"trailer")])


def persistent(version: bytes, fields: Fields) -> bool:
    """Whether the sender keeps its connection open after this message (RFC 9112 §9.3)."""
    return _persistent(fields, version)


@remembered
def _persistent(fields: Fields, version: bytes) -> bool:
    options = fields.elements(b"connection")
    if version == b"1.0":
        return b"keep-alive" in options and b"close" not in options
    return b"close" not in options


def upgrade_asked(version: bytes, fields: Fields) -> tuple[bytes, ...]:
    """The protocols a request asks to switch to, as sent (RFC 9110 §7.8).

    Empty from HTTP/1.0, and without `Connection: upgrade`. h2c is never asked for: its frames
    would pass the gate unread.
    """
    return _upgrade_asked(fields, version)


@remembered
def _upgrade_asked(fields: Fields, version: bytes) -> tuple[bytes, ...]:
    if version != b"1.1" or b"upgrade" not in fields.elements(b"connection"):
        return ()
    asked = [name.strip(b" \t") for name in b",".join(fields.values(b"upgrade")).split(b",")]
    return tuple([name for name in asked if name and name.lower() != b"h2c"])


def upgrade_granted(asked: Sequence[bytes], fields: Fields) -> bool:
    """Whether a 101 switches to a protocol that was asked for, and to nothing else."""
    granted = fields.elements(b"upgrade")
    return bool(granted) and {name.lower() for name in asked}.issuperset(granted)


def forwarded_client(peer: str, fields: Fields, trusted: Sequence[Network]) -> str:
    """Who sent a request that came from the trusted `peer`: the right-most untrusted address.

    What cannot be read as an address ends the search: nobody trusted vouches for what stands left
    of it.
    """
    address = peer
    named = b",".join(fields.values(b"x-forwarded-for")).decode("latin-1").split(",")
    for entry in filter(None, map(str.strip, reversed(named))):
        try:
            address = plain_address(entry)
        except ValueError:
            return address
        if not in_networks(address, trusted):
            return address
    return address


def plain_address(text: str) -> str:
    """An address without port, brackets, zone, or IPv4-mapping. Raises ValueError if it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = ip_address(text.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


def in_networks(address: str, networks: Sequence[Network]) -> bool:
    """Whether a plain address lies in one of the networks."""
    if not networks:
        return False
    parsed = ip_address(address)
    return any(parsed in network for network in networks)


def is_last_hop(request: RequestHead) -> bool:
    """Whether an OPTIONS is to be answered here and not sent on (RFC 9110 §7.6.2)."""
    return _hops_left(request) == 0


def one_hop_less(request: RequestHead) -> RequestHead:
    """The request with the Max-Forwards of an OPTIONS counted down (RFC 9110 §7.6.2)."""
    left = _hops_left(request)
    if left is None:
        return request
    fewer = b"%d" % (left - 1)
    lines = tuple(
        (name, fewer if name == b"max-forwards" else value) for name, value in request.fields.lines
    )
    return request._replace(fields=Fields(lines, request.fields.spelled))


def _hops_left(request: RequestHead) -> int | None:
    if request.method != b"OPTIONS":
        return None
    values = request.fields.values(b"max-forwards")
    counts = len(values) == 1 and values[0].isdigit() and len(values[0]) < 100
    return int(values[0]) if counts else None
