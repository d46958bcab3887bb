"""A body as it comes in, however it is framed (RFC 9112 §6.3)."""

from __future__ import annotations

import pytest

from proxy.body import Body
from proxy.config import Limits
from proxy.errors import ClientError
from proxy.head import read_request, read_response

UNLIMITED = Limits()
TEN_BYTES = Limits.model_validate({"request_body": "10B"})


def uploaded(*fields: bytes, limits: Limits = UNLIMITED) -> Body:
    head = b"\r\n".join([b"POST / HTTP/1.1", b"Host: a", *fields, b"", b""])
    return Body.of_request(read_request(head), limits)


def downloaded(*fields: bytes, bodiless: bool = False) -> Body:
    head = b"\r\n".join([b"HTTP/1.1 200 OK", *fields, b"", b""])
    return Body.of_response(read_response(head, bodiless=bodiless), UNLIMITED)


def test_a_request_without_framing_is_done_at_once() -> None:
    assert uploaded().done


def test_a_length_of_zero_is_done_at_once() -> None:
    assert uploaded(b"Content-Length: 0").done
    assert downloaded(b"Content-Length: 0").done


def test_a_body_of_some_length_is_done_with_its_last_byte() -> None:
    body = uploaded(b"Content-Length: 5")
    assert (body.read(b"he"), body.done) == (b"he", False)
    assert (body.read(b"llo"), body.done, body.rest) == (b"llo", True, b"")


def test_what_stands_behind_a_length_is_no_part_of_the_body() -> None:
    body = uploaded(b"Content-Length: 5")
    assert (body.read(b"helloGET /"), body.rest) == (b"hello", b"GET /")


def test_a_body_of_some_length_that_breaks_off_is_never_done() -> None:
    """RFC 9112 §8."""
    body = downloaded(b"Content-Length: 5")
    body.read(b"hell")
    assert not body.end()
    assert not body.done


def test_a_response_without_framing_ends_with_its_connection() -> None:
    body = downloaded()
    assert (body.until_close, body.read(b"any"), body.done) == (True, b"any", False)
    assert body.end()


def test_the_answer_to_head_is_done_at_once() -> None:
    assert downloaded(b"Content-Length: 5", bodiless=True).done


def test_chunks_are_taken_out_of_a_body_that_has_them() -> None:
    body = downloaded(b"Transfer-Encoding: chunked")
    assert body.chunked
    assert body.read(b"5\r\nhello\r\n0\r\nA: b\r\n\r\nmore") == b"hello"
    assert (body.done, body.rest) == (True, b"more")
    assert body.trailers.lines == ((b"a", b"b"),)


def test_chunks_that_break_off_are_never_done() -> None:
    """RFC 9112 §8."""
    body = downloaded(b"Transfer-Encoding: chunked")
    body.read(b"5\r\nhello\r\n0\r\n")
    assert not body.end()


def test_a_length_over_the_limit_is_413_before_a_byte_of_it_came() -> None:
    with pytest.raises(ClientError) as caught:
        uploaded(b"Content-Length: 11", limits=TEN_BYTES)
    assert caught.value.status == 413


def test_a_length_at_the_limit_passes() -> None:
    assert uploaded(b"Content-Length: 10", limits=TEN_BYTES).read(b"0123456789") == b"0123456789"


def test_chunks_are_413_with_the_first_byte_over_the_limit() -> None:
    body = uploaded(b"Transfer-Encoding: chunked", limits=TEN_BYTES)
    assert body.read(b"a\r\n0123456789\r\n") == b"0123456789"
    with pytest.raises(ClientError) as caught:
        body.read(b"1\r\nx\r\n")
    assert caught.value.status == 413


def test_the_limit_of_requests_does_not_hold_for_responses() -> None:
    head = read_response(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n", bodiless=False)
    assert Body.of_response(head, TEN_BYTES).read(b"0123456789a") == b"0123456789a"


def test_a_chunked_body_that_is_malformed_is_refused() -> None:
    with pytest.raises(ValueError, match="malformed"):
        uploaded(b"Transfer-Encoding: chunked").read(b"x\r\n")
