"""The strict grammar of a message head (RFC 9112 §2-§6).

Law: a head that two readers could understand differently does not pass. Every head, of a request
or of a response, passes here before anything else looks at it; what comes out is unambiguous.

A head is judged by regular expressions: a loop in Python over its bytes would cost more than all
else done to a request. A client sends the same field lines again and again, and so does an upstream
within one second. So what follows from a block of lines is `remembered` by its exact bytes; all of
it is pure, so this changes what an answer costs and never the answer.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from .errors import ClientError, UpstreamError

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIELD_LINES = rb"(?:" + TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+"

# Bytes above 0x7e and '#' are left out of the target: servers disagree on what they mean. All other
# visible bytes pass, also those that RFC 3986 wants encoded, because browsers send them raw.
_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!\"$-~]++) HTTP/([0-9]\.[0-9])\r\n")
# The blank before an empty reason is often left out (RFC 9112 §4 demands it, h11 and Go do not).
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9][0-9])( [\t\x20-\x7e\x80-\xff]*+)?\r\n")
_FIELD = re.compile(rb"([^:]++):[\t ]*+((?:[^\t \r]++|[\t ]++(?!\r))*+)[\t ]*+\r\n")
_FIELD_LINES = re.compile(FIELD_LINES)
# What no continuation can make valid: control bytes, a bare LF, a bare CR (RFC 9112 §2.2).
HOPELESS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")

# All empty lines at once: one by one, a read full of them took 0.7 s of everybody's time.
_EMPTY_LINES = re.compile(rb"(?:\r\n)++")

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]+)(?::([0-9]{0,5}))?")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
# 18 digits stay below 2**63 for every reader behind the proxy.
_LENGTH = re.compile(rb"[0-9]{1,18}")
_TOKENS = re.compile(TOKEN + rb"(?:[\t ]*,[\t ]*" + TOKEN + rb")*")

KNOWN_CODINGS = frozenset(
    (b"chunked", b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"identity")
)


class Framing(NamedTuple):
    """How a body is delimited (RFC 9112 §6.3): `chunked`, or `length` bytes, or neither."""

    length: int | None
    chunked: bool

    def within(self, size: int) -> bool:
        """Whether the body is known beforehand to be no longer than `size`."""
        return self.length is not None and self.length <= size


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """One block of field lines, taken apart.

    `lines` are all fields as (lower-case name, value) in their order; `spelled` the names as sent.
    Compared by identity, which makes it a cheap key for what is `remembered`; only where `short`
    is it remembered at all.
    """

    lines: tuple[tuple[bytes, bytes], ...]
    spelled: tuple[bytes, ...]
    short: bool = False

    def values(self, name: bytes) -> list[bytes]:
        """The values of all fields of that lower-case name, in order."""
        return [value for key, value in self.lines if key == name]

    def elements(self, name: bytes) -> list[bytes]:
        """The members of a comma-separated field, lower case, empty ones left out."""
        joined = b",".join(self.values(name)).lower()
        return [member for part in joined.split(b",") if (member := part.strip(b" \t"))]


# What is remembered is bounded, whoever sends what: so many blocks, none longer than this. A
# browser's cookies are sometimes longer, an announce never is.
REMEMBERED = 1024
SHORT_BYTES = 1536
_SHORT_LINES = 32

P = ParamSpec("P")
T = TypeVar("T")


def remembered(
    function: Callable[Concatenate[Fields, P], T],
) -> Callable[Concatenate[Fields, P], T]:
    """Remember what a pure function says of short fields, for the REMEMBERED latest questions.

    Further arguments must be hashable, and few for the same fields.
    """
    recall = lru_cache(REMEMBERED)(function)

    @wraps(function)
    def ask(fields: Fields, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if fields.short:
            return recall(fields, *args, **kwargs)  # type: ignore[arg-type]
        return function(fields, *args, **kwargs)

    return ask


class RequestHead(NamedTuple):
    """A request's head that passed the grammar and all framing rules.

    `target` is what goes upstream (origin-form or `*`), `host` the authority asked for, exactly as
    sent; `host_name` the same lower-case, without port and trailing dot, as sites are named.
    """

    method: bytes
    target: bytes
    version: bytes
    host: bytes
    host_name: str
    fields: Fields
    framing: Framing


class ResponseHead(NamedTuple):
    """A response's head that passed the grammar; `reason` begins with its blank, or is empty."""

    version: bytes
    status: int
    reason: bytes
    fields: Fields
    framing: Framing


class HeadBuffer:
    """Gathers bytes until a whole head stands there, each byte looked at once.

    `limit` is in bytes and counts the whole head with its empty line. `skip_blank`: empty lines
    before the head are passed over, as a server should for requests (RFC 9112 §2.2), as long as
    they do not amount to a head themselves.
    """

    __slots__ = ("blank", "data", "limit", "seen", "skip_blank")

    def __init__(self, limit: int, *, skip_blank: bool = False) -> None:
        self.data = b""
        self.limit = limit
        self.seen = 0
        self.blank = 0
        self.skip_blank = skip_blank

    def take(self, data: bytes) -> bytes | None:
        """Return the head once it is complete and keep what follows it in `data`.

        Raises ValueError("malformed") as soon as no further byte can mend it, ValueError("line") or
        ValueError("head") when it is over the limit within its first line, or later.
        """
        data = self.data + data if self.data else data
        if self.skip_blank and data.startswith(b"\r\n"):
            data = self._without_empty_lines(data)
        end = data.find(b"\r\n\r\n", max(0, self.seen - 3)) + 4
        if 4 <= end <= self.limit:
            self.data, self.seen, self.blank = data[end:], 0, 0
            return data[:end]
        self._refuse_hopeless(data)
        self.data, self.seen = data, len(data)
        return None

    def _without_empty_lines(self, data: bytes) -> bytes:
        match = _EMPTY_LINES.match(data)
        assert match is not None
        self.seen = 0
        self.blank += match.end()
        if self.blank > self.limit:
            raise ValueError("malformed")
        return data[match.end() :]

    def _refuse_hopeless(self, data: bytes) -> None:
        if HOPELESS.search(data, max(0, self.seen - 1), self.limit):
            raise ValueError("malformed")
        if len(data) > self.limit:
            raise ValueError("head" if 0 <= data.find(b"\r\n") < self.limit - 2 else "line")


def unreadable(error: ValueError) -> ClientError:
    """What a client is told whose head a HeadBuffer did not take."""
    status = {"line": 414, "head": 431}.get(str(error), 400)
    reason = "malformed" if status == 400 else "too long"
    return ClientError(status, f"the request head is {reason}")


def read_request(head: bytes) -> RequestHead:
    """Judge and take apart a whole request head. Raises ClientError.

    What is malformed is 400 before anything else is looked at; then 505, 501 (RFC 9110 §15).
    """
    match = _REQUEST_LINE.match(head)
    fields = _fields_behind(match, head)
    if match is None or fields is None:
        raise ClientError(400, "the request head is malformed")
    method, target, version = match.groups()
    host, host_name, framing = _judge_request(fields, version)
    if target[:1] != b"/":
        target, host = _unusual_target(method, target, host)
        host_name = name_of(host)
    if version not in (b"1.1", b"1.0"):
        raise ClientError(505, "this HTTP version is not served")
    return RequestHead(method, target, version, host, host_name, fields, framing)


def read_response(head: bytes, *, bodiless: bool) -> ResponseHead:
    """Judge and take apart a whole response head. Raises UpstreamError.

    `bodiless`: the request was HEAD, so no body follows whatever the fields say (RFC 9112 §6.3).
    """
    match = _STATUS_LINE.match(head)
    fields = _fields_behind(match, head)
    if match is None or fields is None:
        raise UpstreamError(502, "malformed_head")
    version, code, reason = match.groups()
    status = int(code)
    framing = _response_framing(fields, version)
    if bodiless or status < 200 or status in (204, 304):
        framing = Framing(0, False)
    return ResponseHead(version, status, reason or b" ", fields, framing)


def _fields_behind(match: re.Match[bytes] | None, head: bytes) -> Fields | None:
    """The fields between the first line and the empty one; None where either is not as it must."""
    if match is None or not head.endswith(b"\r\n"):
        return None
    return read_fields(head[match.end() : -2])


def read_trailers(block: bytes) -> Fields:
    """Take apart the lines after the last chunk (RFC 9112 §7.1.2).

    Raises ValueError if malformed or if a field stands there that frames or routes a message:
    a reader that merged it would see another message (RFC 9110 §6.5.1).
    """
    fields = read_fields(block)
    if fields is None:
        raise ValueError("malformed trailers")
    for name, _ in fields.lines:
        if name in (b"content-length", b"transfer-encoding", b"host"):
            raise ValueError("trailers that frame or route")
    return fields


def read_fields(block: bytes) -> Fields | None:
    """Take apart a block of field lines; None if it does not pass the grammar."""
    short = len(block) <= SHORT_BYTES and block.count(b"\n") <= _SHORT_LINES
    return _recall_fields(block) if short else _read_fields(block, short=False)


def _read_fields(block: bytes, *, short: bool) -> Fields | None:
    if not _FIELD_LINES.fullmatch(block):
        return None
    pairs = _FIELD.findall(block)
    return Fields(
        tuple([(name.lower(), value) for name, value in pairs]),
        tuple([name for name, _ in pairs]),
        short,
    )


@lru_cache(REMEMBERED)
def _recall_fields(block: bytes) -> Fields | None:
    return _read_fields(block, short=True)


def name_of(host: bytes) -> str:
    """The name in a Host value: lower case, without port and trailing dot. Raises ClientError."""
    match = _HOST.fullmatch(host)
    if match is None or int(match[2] or 0) > 65535:
        raise ClientError(400, "the Host field is invalid")
    return match[1].decode("ascii").lower().removesuffix(".")


@remembered
def _judge_request(fields: Fields, version: bytes) -> tuple[bytes, str, Framing]:
    """What the fields say of where a request goes and how long it is: (Host, its name, framing)."""
    host = _one_host(fields)
    return host, name_of(host), _request_framing(fields, version)


def _one_host(fields: Fields) -> bytes:
    hosts = fields.values(b"host")
    if len(hosts) != 1:
        raise ClientError(400, "a request needs exactly one Host field")
    return hosts[0]


def _unusual_target(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """What `target` asks for where it is not origin-form (RFC 9112 §3.2): (target, host)."""
    if method == b"CONNECT":
        return target, host
    if target == b"*" and method == b"OPTIONS":
        return target, host
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise ClientError(400, "the request target is malformed")
    authority, rest = absolute.groups()
    name_of(authority)
    if rest[:1] != b"/":
        rest = b"*" if not rest and method == b"OPTIONS" else b"/" + rest
    return rest, authority


def _request_framing(fields: Fields, version: bytes) -> Framing:
    codings = fields.values(b"transfer-encoding")
    lengths = fields.values(b"content-length")
    if codings:
        if lengths or version == b"1.0":
            raise ClientError(400, "this request may not have a Transfer-Encoding")
        _judge_codings(b",".join(codings).lower())
        return Framing(None, True)
    if not lengths:
        return Framing(0, False)
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise ClientError(400, "the Content-Length is invalid")
    return Framing(int(lengths[0]), False)


def _judge_codings(value: bytes) -> None:
    if not _TOKENS.fullmatch(value):
        raise ClientError(400, "the Transfer-Encoding is malformed")
    codings = [coding.strip(b" \t") for coding in value.split(b",")]
    if not KNOWN_CODINGS.issuperset(codings):
        raise ClientError(501, "this transfer coding is not known")
    if codings[-1] != b"chunked" or codings.count(b"chunked") > 1:
        raise ClientError(400, "the last transfer coding must be chunked, and only that")
    if len(codings) > 1:
        raise ClientError(501, "this transfer coding is not known")


@remembered
def _response_framing(fields: Fields, version: bytes) -> Framing:
    codings = fields.values(b"transfer-encoding")
    lengths = fields.values(b"content-length")
    if codings:
        if lengths or version == b"1.0" or b",".join(codings).lower() != b"chunked":
            raise UpstreamError(502, "malformed_framing")
        return Framing(None, True)
    if not lengths:
        return Framing(None, False)
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise UpstreamError(502, "malformed_framing")
    return Framing(int(lengths[0]), False)
