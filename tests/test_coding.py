"""Which coding an answer gets, and what its head says then."""

from __future__ import annotations

import pytest

from proxy.coding import LEAST, accepted_coding, coded_head
from proxy.head import Fields, read_fields, read_request, read_response
from tests.scene import GET, reply

HTML, LARGE = b"Content-Type: text/html", b"Content-Length: 5000"
ZSTD = b"Accept-Encoding: zstd, gzip"


def fields(*lines: bytes) -> Fields:
    read = read_fields(b"".join(line + b"\r\n" for line in lines))
    assert read is not None
    return read


def asked(*lines: bytes) -> bytes:
    return GET.replace(b"\r\n\r\n", b"".join(b"\r\n" + line for line in lines) + b"\r\n\r\n")


def answered(
    *lines: bytes, to: bytes = asked(ZSTD), status: bytes = b"200 OK"
) -> tuple[Fields, bytes | None]:
    """The fields that the client sees, and the coding of the content."""
    request = read_request(to)
    response = read_response(reply(*lines, status=status), bodiless=request.method == b"HEAD")
    head, coding = coded_head(request, response)
    assert head._replace(fields=response.fields) == response
    assert [name.lower() for name in head.fields.spelled] == [name for name, _ in head.fields.lines]
    return head.fields, coding


def untouched(seen: Fields, *lines: bytes) -> bool:
    return seen.lines == fields(b"Date: d", *lines).lines


# What the client wants (RFC 9110 §12.5.3).


@pytest.mark.parametrize(
    ("wanted", "coding"),
    [
        (b"zstd", b"zstd"),
        (b"gzip", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"GZIP;Q=0.5", b"gzip"),
        (b"gzip;q=1.0, zstd;q=0.9", b"gzip"),
        (b"gzip;q=0.8, zstd;q=0.8", b"zstd"),
        (b"gzip ; q=0.001", b"gzip"),
        (b"zstd;q=0, gzip", b"gzip"),
        (b"zstd;q=0.000, gzip", b"gzip"),
        (b"*", b"zstd"),
        (b"zstd;q=0, *", b"gzip"),
        (b"gzip, *;q=0", b"gzip"),
        (b"gzip;q=0.3, *;q=0.5", b"zstd"),
        (b"identity;q=0, gzip;q=0.5", b"gzip"),
        (b"identity;q=0.5, gzip;q=0.5", b"gzip"),
        (b"identity, gzip;q=0.5", None),
        (b"identity;q=0", None),
        (b"identity", None),
        (b"", None),
        (b"br, deflate", None),
        (b"*;q=0", None),
        (b"gzip;q=0, zstd;q=0.0", None),
        (b"gzip;q=2", None),
        (b"gzip;q=.5", None),
        (b"gzip;level=9", None),
        (b"gzipped", None),
    ],
)
def test_the_coding_is_the_one_that_the_client_wants_most(
    wanted: bytes, coding: bytes | None
) -> None:
    assert accepted_coding(fields(b"Accept-Encoding: " + wanted)) == coding


def test_codings_may_be_named_on_several_lines() -> None:
    assert accepted_coding(fields(b"Accept-Encoding: gzip", b"Accept-Encoding: zstd")) == b"zstd"


def test_who_names_no_coding_gets_none() -> None:
    assert accepted_coding(fields(b"Accept: */*")) is None


def test_a_client_may_want_nothing_transformed() -> None:
    """RFC 9111 §5.2.1.6."""
    assert accepted_coding(fields(ZSTD, b"Cache-Control: no-transform")) is None


# Which answers are coded.


@pytest.mark.parametrize(
    "kind",
    [
        b"text/html",
        b"text/plain; charset=utf-8",
        b"TEXT/CSS",
        b"application/json",
        b"application/javascript;x=y",
        b"application/problem+json",
        b"application/atom+xml",
        b"application/wasm",
        b"image/svg+xml",
        b"font/ttf",
    ],
)
def test_what_is_text_in_all_but_name_is_coded(kind: bytes) -> None:
    assert answered(b"Content-Type: " + kind, LARGE)[1] == b"zstd"


@pytest.mark.parametrize(
    "kind",
    [
        b"image/png",
        b"video/mp4",
        b"application/octet-stream",
        b"application/zip",
        b"font/woff2",
        b"text/event-stream",
        b"text/event-stream; charset=utf-8",
        b"textual/html",
        b"",
    ],
)
def test_what_is_compressed_already_unknown_or_urgent_is_not(kind: bytes) -> None:
    lines = (b"Content-Type: " + kind, LARGE)
    seen, coding = answered(*lines)
    assert coding is None
    assert untouched(seen, *lines)


@pytest.mark.parametrize("types", [(), (HTML, HTML)], ids=["no type", "two types"])
def test_content_whose_type_is_not_known_is_not_coded(types: tuple[bytes, ...]) -> None:
    seen, coding = answered(*types, LARGE)
    assert coding is None
    assert untouched(seen, *types, LARGE)


@pytest.mark.parametrize(
    ("size", "coding"), [(0, None), (LEAST - 1, None), (LEAST, b"zstd"), (10**9, b"zstd")]
)
def test_what_is_small_is_not_worth_it(size: int, coding: bytes | None) -> None:
    assert answered(HTML, b"Content-Length: %d" % size)[1] == coding


def test_what_does_not_tell_its_length_may_be_long() -> None:
    assert answered(HTML)[1] == b"zstd"
    assert answered(HTML, b"Transfer-Encoding: chunked")[1] == b"zstd"


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Encoding: gzip",
        b"Content-Encoding: identity",
        b"Cache-Control: public, no-transform",
        b"Content-Range: bytes 0-4999/5000",
        b"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==",
        b"Digest: sha-256=x",
        b"Repr-Digest: sha-256=:x:",
        b"Content-Digest: sha-256=:x:",
        b'Signature-Input: s=("content-length")',
        b"Trailer: X-Sum, Repr-Digest",
    ],
)
def test_what_the_origin_coded_cut_or_vouched_for_stays_as_it_is(line: bytes) -> None:
    seen, coding = answered(HTML, LARGE, line)
    assert coding is None
    assert untouched(seen, HTML, LARGE, line)


@pytest.mark.parametrize(
    ("status", "coding"),
    [
        (b"200 OK", b"zstd"),
        (b"403 Forbidden", b"zstd"),
        (b"404 Not Found", b"zstd"),
        (b"201 Created", None),
        (b"204 No Content", None),
        (b"206 Partial Content", None),
        (b"304 Not Modified", None),
        (b"500 Internal Server Error", None),
    ],
)
def test_answers_and_the_pages_for_missing_ones_are_coded(
    status: bytes, coding: bytes | None
) -> None:
    assert answered(HTML, LARGE, status=status)[1] == coding


# What the head says.


def test_the_head_of_a_coded_answer_names_the_coding_and_no_length() -> None:
    seen, _ = answered(HTML, LARGE)
    assert seen.values(b"content-encoding") == [b"zstd"]
    assert seen.values(b"vary") == [b"Accept-Encoding"]
    assert seen.values(b"content-length") == []


def test_a_coded_answer_takes_no_ranges() -> None:
    assert answered(HTML, b"Accept-Ranges: bytes")[0].values(b"accept-ranges") == []


@pytest.mark.parametrize(
    ("tag", "seen"), [(b'"a"', b'W/"a"'), (b'W/"a"', b'W/"a"'), (b"unquoted", b"unquoted")]
)
def test_a_strong_tag_becomes_a_weak_one(tag: bytes, seen: bytes) -> None:
    """RFC 9110 §8.8.1: the octets are not those that the origin meant by it."""
    assert answered(HTML, b"ETag: " + tag)[0].values(b"etag") == [seen]


def test_head_is_answered_as_get_would_be() -> None:
    """RFC 9110 §9.3.2."""
    lines = (HTML, LARGE, b'ETag: "a"')
    got, _ = answered(*lines)
    told, coding = answered(*lines, to=asked(ZSTD).replace(b"GET", b"HEAD"))
    assert (told.lines, coding) == (got.lines, b"zstd")


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ((), [b"Accept-Encoding"]),
        ((b"Vary: Origin",), [b"Origin", b"Accept-Encoding"]),
        ((b"Vary: Origin, accept-encoding",), [b"Origin, accept-encoding"]),
        ((b"Vary: Origin", b"Vary: Accept-Encoding"), [b"Origin", b"Accept-Encoding"]),
        ((b"Vary: *",), [b"*"]),
    ],
)
@pytest.mark.parametrize("to", [asked(ZSTD), GET], ids=["coded", "left alone"])
def test_vary_names_what_the_choice_depended_on_whatever_was_chosen(
    to: bytes, said: tuple[bytes, ...], seen: list[bytes]
) -> None:
    """RFC 9110 §12.5.5."""
    assert answered(HTML, LARGE, *said, to=to)[0].values(b"vary") == seen


def test_an_answer_left_alone_is_otherwise_as_the_origin_sent_it() -> None:
    lines = (HTML, LARGE, b'ETag: "a"', b"Accept-Ranges: bytes")
    seen, coding = answered(*lines, to=GET)
    assert coding is None
    assert untouched(seen, *lines, b"Vary: Accept-Encoding")


@pytest.mark.parametrize("status", [b"206 Partial Content", b"304 Not Modified"])
def test_an_answer_about_a_200_that_is_coded_has_its_vary(status: bytes) -> None:
    """RFC 9110 §15.3.7, §15.4.5."""
    lines = (HTML, b'ETag: "a"', b"Content-Length: 5")
    seen, _ = answered(*lines, status=status)
    assert untouched(seen, *lines, b"Vary: Accept-Encoding")


def test_a_304_need_not_repeat_the_type() -> None:
    seen, _ = answered(b'ETag: "a"', status=b"304 Not Modified")
    assert seen.values(b"vary") == [b"Accept-Encoding"]


@pytest.mark.parametrize(
    ("held", "seen"),
    [(b'W/"a"', b'W/"a"'), (b'"b", W/"a"', b'W/"a"'), (b'"a"', b'"a"'), (b'W/"b"', b'"a"')],
)
def test_a_304_confirms_the_tag_that_the_client_holds(held: bytes, seen: bytes) -> None:
    """RFC 9111 §4.3.4: a cache updates what it stores under that tag only."""
    to = asked(ZSTD, b"If-None-Match: " + held)
    said, _ = answered(b'ETag: "a"', to=to, status=b"304 Not Modified")
    assert said.values(b"etag") == [seen]
