"""What is remembered of field lines changes what an answer costs, and never the answer."""

from __future__ import annotations

import tracemalloc

import pytest

from proxy.errors import ClientError
from proxy.fields import FieldRules, persistent, upgrade_asked
from proxy.head import read_request, read_response
from proxy.hop import Sender, final_head, request_after_host

NOTHING = frozenset[bytes]()
NO_RULES = FieldRules(NOTHING, b"", NOTHING, b"")
LINES = b"Host: a\r\nX-Real-IP: 203.0.113.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"


def onward(
    first_line: bytes,
    *,
    lines: bytes = LINES,
    rules: FieldRules = NO_RULES,
    address: str = "192.0.2.1",
    request_id: bytes = b"7f",
    trusted: bool = False,
) -> bytes:
    """What goes upstream of a request, Host left out."""
    request = read_request(first_line + b"\r\n" + lines + b"\r\n")
    upgrade = upgrade_asked(request.version, request.fields)
    sender = Sender(address, request_id, trusted=trusted)
    return request_after_host(request, rules, sender, upgrade)


HTTP11, HTTP10 = b"GET / HTTP/1.1", b"GET / HTTP/1.0"


def test_the_same_lines_from_another_sender_name_that_sender() -> None:
    assert b"X-Forwarded-For: 192.0.2.1\r\n" in onward(HTTP11)
    again = onward(HTTP11, address="192.0.2.2", request_id=b"80")
    assert b"192.0.2.1" not in again
    assert b"X-Forwarded-For: 192.0.2.2\r\nX-Request-ID: 80\r\n" in again


def test_the_same_lines_from_a_trusted_and_an_untrusted_proxy_are_not_mixed_up() -> None:
    for _ in range(2):
        assert b"X-Real-IP" in onward(HTTP11, trusted=True)
        assert b"X-Real-IP" not in onward(HTTP11, trusted=False)


def test_the_same_lines_in_another_version_mean_what_they_mean_there() -> None:
    for _ in range(2):
        assert b"Upgrade: websocket" in onward(HTTP11)
        assert b"Upgrade" not in onward(HTTP10)


def test_the_same_lines_for_another_host_name_that_host() -> None:
    assert b"X-Forwarded-Host: a\r\n" in onward(HTTP11)
    assert b"X-Forwarded-Host: b\r\n" in onward(b"GET http://b/ HTTP/1.1")


def test_the_same_lines_on_another_route_follow_its_rules() -> None:
    rules = FieldRules(frozenset((b"x-a",)), b"X-A: 1\r\n", NOTHING, b"")
    assert b"X-A" not in onward(HTTP11)
    assert b"X-A: 1\r\n" in onward(HTTP11, rules=rules)
    assert b"X-A" not in onward(HTTP11)


def test_what_is_malformed_is_refused_each_time() -> None:
    for _ in range(3):
        with pytest.raises(ClientError):
            onward(HTTP11, lines=b"Host: a\r\nContent-Length: +1\r\n")
        with pytest.raises(ClientError):
            onward(HTTP11, lines=b"Host: a\r\nA : b\r\n")


def test_the_same_lines_of_an_answer_are_framed_for_each_client() -> None:
    response = read_response(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", bodiless=False)
    for date in (b"now", b"later"):
        for chunked, version in ((True, b"1.1"), (False, b"1.0")):
            head = final_head(
                response, NO_RULES, date, chunked=chunked, persist=chunked, version=version
            )
            assert (b"Transfer-Encoding: chunked" in head) is chunked
            assert b"Date: " + date + b"\r\n" in head


def test_the_same_lines_of_an_answer_without_a_body_say_no_length() -> None:
    for status, length in ((b"200", True), (b"204", False)) * 2:
        head = b"HTTP/1.1 " + status + b" x\r\nContent-Length: 5\r\n\r\n"
        response = read_response(head, bodiless=False)
        sent = final_head(response, NO_RULES, b"d", chunked=False, persist=True, version=b"1.1")
        assert (b"Content-Length" in sent) is length


def kept_of(number: int, fields: int) -> int:
    """Bytes still in use after that many different heads of that many fields."""
    tracemalloc.start()
    try:
        for turn in range(number):
            lines = b"Host: a\r\n%x: \r\n" % turn + b"a:\r\n" * fields
            onward(HTTP11, lines=lines)
            request = read_request(HTTP11 + b"\r\n" + lines + b"\r\n")
            persistent(request.version, request.fields)
        del request, lines
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_of_long_heads_nothing_is_remembered() -> None:
    """A client that sends a different head each time must not fill the memory."""
    assert kept_of(10, 8000) < 1 << 20


def test_of_heads_of_many_fields_little_is_remembered() -> None:
    assert kept_of(100, 490) < 2 << 20
