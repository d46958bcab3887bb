"""The gate: where a body ends, said once and clearly (RFC 9112 §4, §6)."""

from __future__ import annotations

import pytest

from proxy.errors import ClientError, UpstreamError
from proxy.head import (
    Framing,
    ResponseHead,
    read_request,
    read_response,
    read_trailers,
)

UNFRAMED, EMPTY, CHUNKED = Framing(None, False), Framing(0, False), Framing(None, True)


def request(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([line, host, *fields, b"", b""])


def response(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


def refused(head: bytes) -> int:
    with pytest.raises(ClientError) as caught:
        read_request(head)
    return caught.value.status


def blamed(head: bytes, *, bodiless: bool = False) -> str:
    with pytest.raises(UpstreamError) as caught:
        read_response(head, bodiless=bodiless)
    assert caught.value.status == 502
    return caught.value.reason


def answered(head: bytes, *, bodiless: bool = False) -> ResponseHead:
    return read_response(head, bodiless=bodiless)


# ---- framing of requests (RFC 9112 §6)


@pytest.mark.parametrize(
    ("field", "framing"),
    [
        (b"Content-Length: 0", EMPTY),
        (b"Content-Length: 5", Framing(5, False)),
        (b"Content-Length: 007", Framing(7, False)),
        (b"Content-Length: " + b"9" * 18, Framing(10**18 - 1, False)),
        (b"Transfer-Encoding: chunked", CHUNKED),
        (b"Transfer-Encoding: Chunked", CHUNKED),
        (b"transfer-encoding:\tCHUNKED ", CHUNKED),
    ],
)
def test_a_requests_framing(field: bytes, framing: Framing) -> None:
    assert read_request(request(field)).framing == framing


def test_a_request_without_framing_fields_has_no_body() -> None:
    assert read_request(request(line=b"POST / HTTP/1.1")).framing == EMPTY


LENGTHS = [b"+1", b"-1", b"0x1", b"1_0", b"", b"1 0", b"1,1", b"1, 2", b"1.0", b"1e3", b"9" * 19,
           b"\xb2", b"a", b"\x31\x0b"]  # fmt: skip


@pytest.mark.parametrize("length", LENGTHS)
def test_a_content_length_is_digits_only(length: bytes) -> None:
    """RFC 9110 §8.6."""
    field = b"Content-Length: " + length
    assert refused(request(field)) == 400
    assert blamed(response(field)) in ("malformed_framing", "malformed_head")


@pytest.mark.parametrize("second", [b"5", b"6"])
def test_two_content_lengths_are_400(second: bytes) -> None:
    assert refused(request(b"Content-Length: 5", b"Content-Length: " + second)) == 400


@pytest.mark.parametrize("coding", [b"chunked", b"identity", b"gzip", b""])
def test_content_length_beside_transfer_encoding_is_400(coding: bytes) -> None:
    """RFC 9112 §6.3: it might be an attempt at request smuggling."""
    fields = [b"Content-Length: 5", b"Transfer-Encoding: " + coding]
    assert refused(request(*fields)) == 400
    assert refused(request(*reversed(fields))) == 400


def test_transfer_encoding_from_http10_is_400() -> None:
    """RFC 9112 §6.1."""
    assert refused(request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0")) == 400


@pytest.mark.parametrize(
    ("codings", "status"),
    [
        ([b"identity"], 400),
        ([b"gzip"], 400),
        ([b"chunked, gzip"], 400),
        ([b"chunked, chunked"], 400),
        ([b"chunked", b"chunked"], 400),
        ([b""], 400),
        ([b","], 400),
        ([b"chunked,"], 400),
        ([b"\x0bchunked"], 400),
        ([b"chunked;q=1"], 400),
        ([b"ch unked"], 400),
        ([b'"chunked"'], 400),
        ([b"xchunked"], 501),
        ([b"chunked", b"x"], 501),
        ([b"x, chunked"], 501),
        ([b"gzip, chunked"], 501),
        ([b"gzip", b"chunked"], 501),
    ],
)
def test_only_chunked_is_a_transfer_coding_here(codings: list[bytes], status: int) -> None:
    """RFC 9112 §6.1: an unknown coding is 501; what does not end in one chunked is 400."""
    assert refused(request(*(b"Transfer-Encoding: " + coding for coding in codings))) == status


# ---- responses (RFC 9112 §4, §6.3)


def test_a_response_is_version_status_reason_and_fields() -> None:
    read = answered(response(b"Server: x", line=b"HTTP/1.0 404 Not  Found"))
    assert (read.version, read.status, read.reason) == (b"1.0", 404, b" Not  Found")
    assert read.fields.lines == ((b"server", b"x"),)


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 ", b"HTTP/1.1 200"])
def test_a_reason_may_be_empty(line: bytes) -> None:
    assert answered(response(line=line)).reason == b" "


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.2 200 OK", b"HTTP/2 200 OK", b"HTTP/1.1 99 x", b"HTTP/1.1 020 x", b"HTTP/1.1 2000 x",
     b"HTTP/1.1  200 OK", b"http/1.1 200 OK", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 OK", b"ICY 200 OK",
     b"HTTP/1.1\t200\tOK", b""],
)  # fmt: skip
def test_a_malformed_status_line_is_the_upstreams_fault(line: bytes) -> None:
    assert blamed(response(line=line)) == "malformed_head"


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        ([], UNFRAMED),
        ([b"Content-Length: 5"], Framing(5, False)),
        ([b"Transfer-Encoding: Chunked"], CHUNKED),
    ],
)
def test_a_responses_framing(fields: list[bytes], framing: Framing) -> None:
    assert answered(response(*fields)).framing == framing


@pytest.mark.parametrize(
    "fields",
    [
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Transfer-Encoding: gzip"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding:"],
    ],
)
def test_a_response_with_two_framings_is_the_upstreams_fault(fields: list[bytes]) -> None:
    assert blamed(response(*fields)) == "malformed_framing"


def test_a_chunked_response_of_http10_is_the_upstreams_fault() -> None:
    head = response(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK")
    assert blamed(head) == "malformed_framing"


FRAMED = [[], [b"Content-Length: 5"], [b"Transfer-Encoding: chunked"]]


@pytest.mark.parametrize("fields", FRAMED)
@pytest.mark.parametrize("status", [b"100", b"101", b"103", b"204", b"304"])
def test_some_statuses_have_no_body_whatever_the_fields_say(
    status: bytes, fields: list[bytes]
) -> None:
    """RFC 9112 §6.3, rule 1."""
    assert answered(response(*fields, line=b"HTTP/1.1 " + status + b" x")).framing == EMPTY


@pytest.mark.parametrize("fields", FRAMED)
def test_the_answer_to_head_has_no_body_whatever_the_fields_say(fields: list[bytes]) -> None:
    """RFC 9112 §6.3, rule 1."""
    assert answered(response(*fields), bodiless=True).framing == EMPTY


# ---- trailers (RFC 9110 §6.5)


def test_trailers_are_fields() -> None:
    assert read_trailers(b"A: b\r\nC:d\r\n").lines == ((b"a", b"b"), (b"c", b"d"))


@pytest.mark.parametrize("name", [b"Content-Length", b"transfer-encoding", b"HOST"])
def test_trailers_may_not_frame_or_route(name: bytes) -> None:
    """RFC 9110 §6.5.1."""
    with pytest.raises(ValueError, match="frame or route"):
        read_trailers(b"A: b\r\n" + name + b": 5\r\n")


@pytest.mark.parametrize(
    "block", [b"A: b\n", b"A : b\r\n", b"A: b\r\n c\r\n", b"A: \x00\r\n", b"A"]
)
def test_malformed_trailers_are_refused(block: bytes) -> None:
    with pytest.raises(ValueError, match="malformed"):
        read_trailers(block)
