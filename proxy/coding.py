"""Which content coding an answer gets, and what its head says then (RFC 9110 §8.4, §12.5.3). Pure.

Law: nobody is sent a coding that he did not ask for. Content that is coded already, is a part of
something, is not to be transformed, or is vouched for octet by octet stays as it is.

A coded answer is another representation of the same thing. So its strong entity tag becomes a weak
one (RFC 9110 §8.8.1), it takes no ranges, and Vary tells caches what the choice depended on, also
where the choice was to leave the answer alone.
"""

import re

from .head import Fields, RequestHead, ResponseHead, remembered

# Where a client wants both alike: zstd takes a third of gzip's time and is smaller.
CODINGS = (b"zstd", b"gzip")
# Below this a coding saves nothing worth its time; Caddy's minimum_length.
LEAST = 512
# nginx's choice: an answer, and the pages that explain why there is none.
_STATUSES = frozenset((200, 403, 404))
# Not coded themselves, but about a 200 that is (RFC 9110 §15.3.7, §15.4.5).
_ABOUT_A_200 = frozenset((206, 304))
# Caddy's list; text/ and what ends with +json or +xml is meant as well.
_TYPES = frozenset(
    (
        b"application/graphql",
        b"application/javascript",
        b"application/json",
        b"application/vnd.ms-fontobject",
        b"application/wasm",
        b"application/x-javascript",
        b"application/xml",
        b"font/otf",
        b"font/ttf",
        b"image/vnd.microsoft.icon",
        b"image/x-icon",
    )
)
# Events are small and urgent: there is little to gain, and nothing may stand in their way.
_EVENTS = b"text/event-stream"
# They speak of the very octets that the origin sent (RFC 9530 §2, §3, RFC 9421 §4.1).
VOUCHING = frozenset(
    (b"content-digest", b"content-md5", b"digest", b"repr-digest", b"signature-input")
)
_WEIGHT = re.compile(rb"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def coded_head(request: RequestHead, response: ResponseHead) -> tuple[ResponseHead, bytes | None]:
    """A response's head as its client is to see it, and the coding that its content gets.

    HEAD is answered as GET would be (RFC 9110 §9.3.2).
    """
    fields, status = response.fields, response.status
    if not may_be_coded(fields, status):
        return response, None
    coding = None if status in _ABOUT_A_200 else accepted_coding(request.fields)
    if coding is not None:
        return response._replace(fields=_coded_fields(fields, coding)), coding
    weak = status == 304 and _holds_weak_tag(request.fields, fields)
    return response._replace(fields=_varying_fields(fields, weak)), None


@remembered
def may_be_coded(fields: Fields, status: int) -> bool:
    """Whether an answer with these fields is sent coded, or is about one that is."""
    return (
        (status in _STATUSES or status in _ABOUT_A_200)
        and _is_for_reading(fields, status)
        and not fields.values(b"content-encoding")
        and not _is_as_it_is(fields)
        and (status in _ABOUT_A_200 or _is_whole_and_large(fields))
    )


def _is_whole_and_large(fields: Fields) -> bool:
    large = all(int(size) >= LEAST for size in fields.values(b"content-length"))
    return large and not fields.values(b"content-range")


def _is_for_reading(fields: Fields, status: int) -> bool:
    """Whether the content's type is one that a coding makes smaller."""
    types = fields.values(b"content-type")
    if len(types) != 1:
        # A 304 need not repeat it.
        return status == 304 and not types
    kind = types[0].partition(b";")[0].strip(b" \t").lower()
    if kind.startswith(b"text/"):
        return kind != _EVENTS
    return kind in _TYPES or kind.endswith((b"+json", b"+xml"))


def _is_as_it_is(fields: Fields) -> bool:
    """Whether the origin wants its octets to arrive as they are (RFC 9111 §5.2.2.6)."""
    announced = VOUCHING.intersection(fields.elements(b"trailer"))
    named = any(name in VOUCHING for name, _ in fields.lines)
    return named or bool(announced) or b"no-transform" in fields.elements(b"cache-control")


@remembered
def accepted_coding(fields: Fields) -> bytes | None:
    """The coding that a request with these fields wants most; None: none of ours.

    RFC 9110 §12.5.3. Without the field any coding would be allowed, but who names none may know
    none. "identity" is wanted only as much as it is said to be.
    """
    if b"no-transform" in fields.elements(b"cache-control"):
        return None
    weights = dict(map(_weighed, fields.elements(b"accept-encoding")))
    otherwise = weights.get(b"*", 0.0)
    wanted = {coding: weights.get(coding, otherwise) for coding in CODINGS}
    if b"gzip" not in weights:
        wanted[b"gzip"] = weights.get(b"x-gzip", otherwise)
    best = max(CODINGS, key=lambda coding: wanted[coding])
    return best if wanted[best] > 0 and wanted[best] >= weights.get(b"identity", 0.0) else None


def _weighed(member: bytes) -> tuple[bytes, float]:
    """A coding and its weight (RFC 9110 §12.4.2); what is malformed is not wanted."""
    coding, _, parameter = (part.strip(b" \t") for part in member.partition(b";"))
    match = _WEIGHT.fullmatch(parameter or b"q=1")
    return coding, float(match[1]) if match else 0.0


@remembered
def _coded_fields(fields: Fields, coding: bytes) -> Fields:
    """The fields of an answer whose content is coded; its length is not known beforehand."""
    kept = [
        (spelled, _weak(value) if name == b"etag" else value)
        for spelled, (name, value) in zip(fields.spelled, fields.lines, strict=True)
        if name not in (b"accept-ranges", b"content-length")
    ]
    return _fields([*kept, (b"Content-Encoding", coding), *_vary(fields)], short=fields.short)


@remembered
def _varying_fields(fields: Fields, weak: bool) -> Fields:
    """The fields of an answer that another client would get coded."""
    kept = [
        (spelled, _weak(value) if weak and name == b"etag" else value)
        for spelled, (name, value) in zip(fields.spelled, fields.lines, strict=True)
    ]
    return _fields([*kept, *_vary(fields)], short=fields.short)


def _vary(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The Vary that is missing, beside those that stand there (RFC 9110 §12.5.5)."""
    named = fields.elements(b"vary")
    known = b"*" in named or b"accept-encoding" in named
    return [] if known else [(b"Vary", b"Accept-Encoding")]


def _weak(tag: bytes) -> bytes:
    return b"W/" + tag if tag.startswith(b'"') else tag


def _holds_weak_tag(request: Fields, response: Fields) -> bool:
    """Whether the client asked about the weak tag that a coded answer had.

    A cache updates what it stores only under the very tag that it stores (RFC 9111 §4.3.4).
    """
    held = b",".join(request.values(b"if-none-match"))
    return any(_weak(tag) in held for tag in response.values(b"etag"))


def _fields(pairs: list[tuple[bytes, bytes]], *, short: bool) -> Fields:
    return Fields(
        tuple([(spelled.lower(), value) for spelled, value in pairs]),
        tuple([spelled for spelled, _ in pairs]),
        short,
    )
