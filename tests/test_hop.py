"""A head as the next hop sees it: framing and connection fields written anew (RFC 9110 §7.6)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.fields import FieldRules, upgrade_asked
from proxy.head import RequestHead, read_request, read_response
from proxy.hop import (
    Sender,
    final_head,
    interim_head,
    request_after_host,
    request_line,
    switching_head,
)

NOTHING = frozenset[bytes]()
NO_RULES = FieldRules(NOTHING, b"", NOTHING, b"")
SENDER = Sender("192.0.2.1", b"7f", trusted=False)
OWN = (
    b"Via: 1.1 hopward\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n"
    b"X-Forwarded-For: 192.0.2.1\r\nX-Request-ID: 7f\r\n"
)


def asked(*lines: bytes, line: bytes = b"GET /x HTTP/1.1") -> RequestHead:
    return read_request(b"\r\n".join([line, b"Host: a", *lines, b"", b""]))


def onward(request: RequestHead, sender: Sender = SENDER) -> bytes:
    """The head as the upstream gets it."""
    upgrade = upgrade_asked(request.version, request.fields)
    line = request_line(request, request.host)
    return line + request_after_host(request, NO_RULES, sender, upgrade)


def behind_own(*lines: bytes, line: bytes = b"GET /x HTTP/1.1") -> bytes:
    """What stands behind the proxy's own lines: framing and connection."""
    _, own, rest = onward(asked(*lines, line=line)).partition(b"X-Request-ID: 7f\r\n")
    assert own
    return rest


def final(
    *lines: bytes,
    status: bytes = b"200 OK",
    chunked: bool = False,
    persist: bool = True,
    version: bytes = b"1.1",
) -> bytes:
    head = b"\r\n".join([b"HTTP/1.0 " + status, *lines, b"", b""])
    response = read_response(head, bodiless=False)
    return final_head(
        response, NO_RULES, b"now", chunked=chunked, persist=persist, version=version
    )  # fmt: skip


# ---- requests


def test_a_request_goes_on_with_its_host_its_fields_and_the_proxys_own() -> None:
    assert onward(asked(b"Accept: a")) == (
        b"GET /x HTTP/1.1\r\nHost: a\r\nAccept: a\r\n" + OWN + b"\r\n"
    )


def test_a_request_of_http10_goes_on_as_http11() -> None:
    """RFC 9110 §6.2: a sender's version is its own."""
    sent = onward(asked(line=b"GET / HTTP/1.0"))
    assert sent.startswith(b"GET / HTTP/1.1\r\n")
    assert b"Via: 1.0 hopward\r\n" in sent


def test_a_host_in_absolute_form_is_the_host_sent_on() -> None:
    """RFC 9112 §3.2.2."""
    sent = onward(asked(line=b"GET http://b.example/c HTTP/1.1"))
    assert sent.startswith(b"GET /c HTTP/1.1\r\nHost: b.example\r\n")
    assert sent.count(b"Host: a\r\n") == 0


def test_a_length_goes_on_as_a_plain_number() -> None:
    assert behind_own(b"Content-Length: 007") == b"Content-Length: 7\r\n\r\n"


def test_no_length_stays_no_length() -> None:
    assert behind_own(line=b"POST / HTTP/1.1") == b"\r\n"


def test_a_length_of_zero_stays_one() -> None:
    """RFC 9110 §8.6: a POST without a body says so."""
    assert behind_own(b"Content-Length: 0") == b"Content-Length: 0\r\n\r\n"


def test_a_body_in_chunks_goes_on_in_chunks_with_its_trailers_announced() -> None:
    assert behind_own(b"Trailer: X-Sum", b"Transfer-Encoding: chunked") == (
        b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    )


def test_expect_passes_from_http11_only() -> None:
    """RFC 9110 §10.1.1."""
    assert behind_own(b"Expect: 100-continue") == b"Expect: 100-continue\r\n\r\n"
    sent = onward(asked(b"Expect: 100-continue", line=b"POST / HTTP/1.0"))
    assert b"Expect" not in sent


def test_an_upgrade_is_asked_for_anew() -> None:
    sent = behind_own(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket")
    assert sent == b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_te_says_trailers_and_nothing_else() -> None:
    """RFC 9110 §10.1.4: only together with `Connection: TE`."""
    assert behind_own(b"TE: gzip, trailers", b"Connection: TE") == (
        b"Connection: TE\r\nTE: trailers\r\n\r\n"
    )
    assert behind_own(b"TE: gzip", b"Connection: TE") == b"\r\n"


NAMES = st.sampled_from(
    [b"X-Forwarded-For", b"x_forwarded_for", b"X-FORWARDED-FOR", b"Forwarded", b"Connection",
     b"X-Real-IP", b"Cookie", b"TE", b"Upgrade", b"Expect", b"Via", b"Trailer", b"Keep-Alive",
     b"X-Request-Id"]
)  # fmt: skip
VALUES = st.sampled_from(
    [b"", b"close", b"x-forwarded-for", b"X-Forwarded-For, via", b"203.0.113.1", b"websocket",
     b"upgrade", b"trailers", b"a: b", b"\xff", b"\t a \t b"]
)  # fmt: skip
LINES = st.lists(st.tuples(NAMES, VALUES).map(b": ".join), max_size=8)


@settings(max_examples=200, deadline=None)
@given(LINES, st.sampled_from([b"", b"Content-Length: 3", b"Transfer-Encoding: chunked"]),
       st.booleans())  # fmt: skip
def test_what_goes_on_passes_the_gate_with_one_client_address(
    lines: list[bytes], framing: bytes, trusted: bool
) -> None:
    request = asked(*lines, *filter(None, [framing]))
    sent = onward(request, Sender("192.0.2.1", b"7f", trusted=trusted))
    again = read_request(sent)
    assert again.fields.values(b"x-forwarded-for") == [b"192.0.2.1"]
    assert [name.replace(b"_", b"-").lower() for name, _ in again.fields.lines].count(
        b"x-forwarded-for"
    ) == 1
    assert (again.method, again.target, again.host) == (request.method, request.target, b"a")
    assert again.framing == request.framing


# ---- final responses


def test_a_response_goes_on_as_http11_with_its_reason() -> None:
    sent = final(b"Content-Length: 5", b"A: b", status=b"404 No  Such")
    assert sent == (
        b"HTTP/1.1 404 No  Such\r\nA: b\r\nDate: now\r\nContent-Length: 5\r\n\r\n"
    )  # fmt: skip


def test_a_body_of_unknown_length_goes_on_in_chunks() -> None:
    sent = final(b"Trailer: X-Sum", chunked=True)
    assert sent.endswith(b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")


def test_a_204_says_no_length() -> None:
    """RFC 9110 §8.6."""
    sent = final(b"Content-Length: 0", status=b"204 No Content")
    assert b"Content-Length" not in sent


def test_a_304_says_the_length_that_a_200_would_have() -> None:
    """RFC 9110 §8.6."""
    sent = final(b"Content-Length: 1234", status=b"304 Not Modified")
    assert b"Content-Length: 1234\r\n" in sent


@pytest.mark.parametrize(
    ("version", "persist", "connection"),
    [
        (b"1.1", True, b""),
        (b"1.1", False, b"Connection: close\r\n"),
        (b"1.0", True, b"Connection: keep-alive\r\n"),
        (b"1.0", False, b"Connection: close\r\n"),
    ],
)
def test_the_client_is_told_whether_its_connection_persists(
    version: bytes, persist: bool, connection: bytes
) -> None:
    """RFC 9112 §9.3."""
    sent = final(b"Connection: x", b"Content-Length: 0", version=version, persist=persist)
    assert sent == (
        b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 0\r\n" + connection + b"\r\n"
    )  # fmt: skip


# ---- 1xx (RFC 9110 §15.2)


def test_an_interim_response_passes_without_framing_and_without_our_fields() -> None:
    head = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nContent-Length: 5\r\n\r\n"
    sent = interim_head(read_response(head, bodiless=False))
    assert sent == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def test_a_101_names_the_protocol_it_switches_to() -> None:
    """RFC 9110 §7.8."""
    head = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade, x-a\r\n"
        b"X-A: 1\r\nSec-WebSocket-Accept: abc=\r\n\r\n"
    )
    assert switching_head(read_response(head, bodiless=False)) == (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: abc=\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
