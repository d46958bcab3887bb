"""The gate: a head gathered from whatever pieces it comes in (RFC 9112 §2.2, §3)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ClientError, UpstreamError
from proxy.head import (
    HeadBuffer,
    read_request,
    read_response,
)


def request(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([line, host, *fields, b"", b""])


def response(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


def blamed(head: bytes, *, bodiless: bool = False) -> str:
    with pytest.raises(UpstreamError) as caught:
        read_response(head, bodiless=bodiless)
    assert caught.value.status == 502
    return caught.value.reason


# ---- gathering a head (RFC 9112 §2.2, §3)

HEAD = request(b"A: b")


def complaint(buffer: HeadBuffer, octets: bytes) -> str:
    with pytest.raises(ValueError, match=r"^(malformed|line|head)$") as caught:
        buffer.take(octets)
    return str(caught.value)


def in_single_bytes(buffer: HeadBuffer, octets: bytes) -> tuple[bytes | None, int]:
    for at in range(len(octets)):
        if (head := buffer.take(octets[at : at + 1])) is not None:
            return head, at + 1
    return None, len(octets)


def test_a_head_is_gathered_from_single_bytes() -> None:
    assert in_single_bytes(HeadBuffer(100), HEAD + b"body") == (HEAD, len(HEAD))


def test_what_follows_a_head_is_kept() -> None:
    buffer = HeadBuffer(100)
    assert buffer.take(HEAD + b"body") == HEAD
    assert buffer.data == b"body"


def test_pipelined_heads_come_one_after_the_other() -> None:
    buffer = HeadBuffer(100)
    assert [buffer.take(HEAD + HEAD + HEAD[:5]), buffer.take(b""), buffer.take(b"")] == [
        HEAD, HEAD, None,
    ]  # fmt: skip
    assert buffer.take(HEAD[5:]) == HEAD


@pytest.mark.parametrize("blanks", [1, 2, 50])
def test_empty_lines_before_a_request_are_passed_over(blanks: int) -> None:
    octets = b"\r\n" * blanks + HEAD
    assert HeadBuffer(100, skip_blank=True).take(octets) == HEAD
    assert in_single_bytes(HeadBuffer(100, skip_blank=True), octets)[0] == HEAD


def test_empty_lines_without_a_request_are_refused_once_they_are_as_long_as_a_head() -> None:
    """RFC 9112 §2.2: at least one is ignored; nothing says that all must be."""
    assert complaint(HeadBuffer(100, skip_blank=True), b"\r\n" * 51) == "malformed"
    buffer = HeadBuffer(100, skip_blank=True)
    assert in_single_bytes(buffer, b"\r\n" * 50) == (None, 100)
    assert buffer.take(b"\r") is None
    assert complaint(buffer, b"\n") == "malformed"


def test_empty_lines_count_anew_before_each_request() -> None:
    buffer = HeadBuffer(100, skip_blank=True)
    assert buffer.take(b"\r\n" * 40 + HEAD + b"\r\n" * 40 + HEAD) == HEAD
    assert buffer.take(b"") == HEAD


def test_empty_lines_before_a_response_make_it_malformed() -> None:
    head = HeadBuffer(100).take(b"\r\n\r\n" + response())
    assert head == b"\r\n\r\n"
    assert blamed(head) == "malformed_head"


@pytest.mark.parametrize("limit", [len(HEAD), len(HEAD) + 1])
def test_a_head_as_long_as_its_limit_passes(limit: int) -> None:
    assert HeadBuffer(limit).take(HEAD) == HEAD
    assert in_single_bytes(HeadBuffer(limit), HEAD)[0] == HEAD


def test_a_head_a_byte_over_its_limit_is_refused_however_it_comes() -> None:
    """h11 0.16 lets one through that comes in one read."""
    assert complaint(HeadBuffer(len(HEAD) - 1), HEAD) == "head"
    buffer = HeadBuffer(len(HEAD) - 1)
    assert buffer.take(HEAD[:-1]) is None
    assert complaint(buffer, HEAD[-1:]) == "head"


def test_a_first_line_over_the_limit_is_told_apart_from_a_head_over_it() -> None:
    """RFC 9110 §15.5.15 and RFC 6585 §5: 414 is not 431."""
    assert complaint(HeadBuffer(20), b"GET /" + b"a" * 50) == "line"
    assert complaint(HeadBuffer(20), b"GET / HTTP/1.1\r\n" + b"a" * 50) == "head"


def test_an_endless_head_is_refused_before_its_end() -> None:
    buffer = HeadBuffer(100)
    assert buffer.take(b"GET / HTTP/1.1\r\nA: " + b"b" * 81) is None
    assert complaint(buffer, b"b") == "head"


@pytest.mark.parametrize(
    "octets", [b"GET / HTTP/1.1\nH", b"a\rb", b"\x00", b"\x16\x03\x01\x02", b"\x7f"]
)
def test_what_no_byte_can_mend_is_refused_at_once(octets: bytes) -> None:
    assert complaint(HeadBuffer(100), octets) == "malformed"


def test_a_carriage_return_at_the_end_of_a_read_may_yet_be_a_line_end() -> None:
    buffer = HeadBuffer(100)
    assert buffer.take(b"GET / HTTP/1.1\r") is None
    assert buffer.take(b"\nHost: a\r\n\r") is None
    assert buffer.take(b"\n") == request()


def test_a_bare_carriage_return_shows_when_the_next_read_goes_on_without_lf() -> None:
    buffer = HeadBuffer(100)
    assert buffer.take(b"GET / HTTP/1.1\r") is None
    assert complaint(buffer, b"Host: a") == "malformed"


# ---- for any bytes

HTTPISH = st.lists(
    st.sampled_from(
        [b"GET ", b"/", b" HTTP/1.1", b"HTTP/1.1 200", b"\r\n", b"\r", b"\n", b"Host:", b" a", b":",
         b"\r\n\r\n", b"Content-Length: 1", b"Transfer-Encoding: ", b"chunked", b",", b"\x00",
         b"\xff"]
    )
    | st.binary(max_size=3),
    max_size=12,
).map(b"".join)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(HTTPISH)
def test_a_request_of_whatever_bytes_is_read_or_is_the_clients_fault(octets: bytes) -> None:
    assert _status_of(octets) in (200, 400, 501, 505)


@settings(max_examples=300, deadline=None)
@given(HTTPISH)
def test_a_response_of_whatever_bytes_is_read_or_is_the_upstreams_fault(octets: bytes) -> None:
    try:
        read = read_response(octets, bodiless=False)
    except UpstreamError:
        return
    assert octets.startswith(b"HTTP/%b %d" % (read.version, read.status))


@settings(max_examples=300, deadline=None)
@given(HTTPISH, st.integers(4, 60), st.booleans(), st.lists(st.integers(0, 60), max_size=4))
def test_however_a_head_is_cut_it_is_read_the_same(
    octets: bytes, limit: int, skip_blank: bool, cuts: list[int]
) -> None:
    whole = _gathered([octets], limit, skip_blank)
    marks = sorted({0, *(cut for cut in cuts if cut < len(octets)), len(octets)})
    pieces = [octets[a:b] for a, b in pairwise(marks)]
    assert _gathered(pieces, limit, skip_blank) == whole


def _gathered(pieces: list[bytes], limit: int, skip_blank: bool) -> tuple[int, bytes | None]:
    """The head and its status: a malformed one is 400 whenever that is found out."""
    buffer = HeadBuffer(limit, skip_blank=skip_blank)
    try:
        taken = (buffer.take(piece) for piece in pieces)
        head = next((head for head in taken if head is not None), None)
    except ValueError as error:
        return {"line": 414, "head": 431, "malformed": 400}[str(error)], None
    status = 0 if head is None else _status_of(head)
    return status, None if status == 400 else head


def _status_of(head: bytes) -> int:
    try:
        read_request(head)
    except ClientError as error:
        return error.status
    return 200
