"""The gate: which request heads pass, and what they ask for (RFC 9112 §2, §3, §5)."""

from __future__ import annotations

import pytest

from proxy.errors import ClientError, UpstreamError
from proxy.head import (
    Framing,
    name_of,
    read_request,
    read_response,
)


def request(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([line, host, *fields, b"", b""])


def refused(head: bytes) -> int:
    with pytest.raises(ClientError) as caught:
        read_request(head)
    return caught.value.status


# ---- the request line (RFC 9112 §3)


def test_a_request_is_method_target_version_host_and_fields() -> None:
    read = read_request(request(b"Accept: */*", line=b"GET /a?b=c HTTP/1.1", host=b"Host: A:8443"))
    assert (read.method, read.target, read.version) == (b"GET", b"/a?b=c", b"1.1")
    assert (read.host, read.host_name) == (b"A:8443", "a")
    assert read.fields.lines == ((b"host", b"A:8443"), (b"accept", b"*/*"))
    assert read.framing == Framing(0, False)


@pytest.mark.parametrize(
    "target",
    [
        b"/announce?info_hash=%00%FF%e2&key=",
        b"/a b".replace(b" ", b"%20"),
        b'/[]{}|^`\\"<>',
        b"/broken%zz%",
        b"//two/slashes",
        b"/../up",
        b"/?a=http://b/c",
    ],
)
def test_a_targets_bytes_stay_as_sent(target: bytes) -> None:
    assert read_request(request(line=b"GET " + target + b" HTTP/1.1")).target == target


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1",
        b"GET / HTTP/11.1",
        b"GET /",
        b"GET\t/\tHTTP/1.1",
        b"G(T / HTTP/1.1",
        b" / HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET * HTTP/1.1",
        b"",
    ],
)
def test_a_malformed_request_line_is_400(line: bytes) -> None:
    assert refused(request(line=line)) == 400


@pytest.mark.parametrize("version", [b"0.9", b"2.0", b"3.0", b"1.2"])
def test_an_unknown_version_is_505(version: bytes) -> None:
    assert refused(request(line=b"GET / HTTP/" + version)) == 505


def test_what_is_malformed_is_400_before_its_version_is_looked_at() -> None:
    assert refused(request(b"A : b", line=b"GET / HTTP/3.0")) == 400


def test_http2s_preface_is_no_request_of_http1() -> None:
    """RFC 9113 §3.4: it is made so that an HTTP/1 server refuses it."""
    assert refused(b"PRI * HTTP/2.0\r\n\r\n") == 400


# ---- the target's other forms (RFC 9112 §3.2)


@pytest.mark.parametrize(
    ("asked", "target", "host"),
    [
        (b"http://b.example/c?d", b"/c?d", b"b.example"),
        (b"https://b.example:8443/", b"/", b"b.example:8443"),
        (b"HTTP://B.example", b"/", b"B.example"),
        (b"http://b.example?q", b"/?q", b"b.example"),
    ],
)
def test_absolute_form_replaces_host(asked: bytes, target: bytes, host: bytes) -> None:
    """RFC 9112 §3.2.2."""
    read = read_request(request(line=b"GET " + asked + b" HTTP/1.1"))
    assert (read.target, read.host) == (target, host)


@pytest.mark.parametrize(
    "asked",
    [b"http:///path", b"http://user@b/", b"ftp://b/", b"http://b:port/", b"http:b", b"b:443"],
)
def test_absolute_form_without_a_valid_authority_is_400(asked: bytes) -> None:
    assert refused(request(line=b"GET " + asked + b" HTTP/1.1")) == 400


def test_absolute_form_does_not_make_up_for_a_missing_host() -> None:
    assert refused(b"GET http://b/ HTTP/1.1\r\n\r\n") == 400


def test_asterisk_form_is_for_options() -> None:
    assert read_request(request(line=b"OPTIONS * HTTP/1.1")).target == b"*"


def test_absolute_form_without_a_path_is_the_asterisk_of_options() -> None:
    assert read_request(request(line=b"OPTIONS http://b HTTP/1.1")).target == b"*"


def test_authority_form_of_connect_passes_the_gate_to_be_refused_by_method() -> None:
    assert read_request(request(line=b"CONNECT b:443 HTTP/1.1")).method == b"CONNECT"


# ---- Host (RFC 9112 §3.2, RFC 9110 §7.2)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"a.example.com", "a.example.com"),
        (b"A.Example.COM", "a.example.com"),
        (b"a.example.com.", "a.example.com"),
        (b"a.example.com:8443", "a.example.com"),
        (b"a.example.com.:443", "a.example.com"),
        (b"a.example.com:", "a.example.com"),
        (b"a.example.com:65535", "a.example.com"),
        (b"127.0.0.1:80", "127.0.0.1"),
        (b"[::1]:8443", "[::1]"),
        (b"under_score", "under_score"),
        (b"a,b", "a,b"),
    ],
)
def test_a_hosts_name_is_lower_case_without_port_and_trailing_dot(host: bytes, name: str) -> None:
    assert name_of(host) == name


@pytest.mark.parametrize(
    "host",
    [b"", b"a b", b"a/b", b"a@b", b"a:b", b"a:1:2", b"::1", b"[::1", b"[x]", b"a\xff",
     b"a:123456", b"a:65536", b":80", b"a\\b", b"<a>"],
)  # fmt: skip
def test_an_invalid_host_is_400(host: bytes) -> None:
    assert refused(request(host=b"Host: " + host)) == 400


def test_a_request_without_host_is_400() -> None:
    assert refused(b"GET / HTTP/1.1\r\n\r\n") == 400


def test_a_request_of_http10_needs_host_too() -> None:
    """The proxy could not tell which site is meant."""
    assert refused(b"GET / HTTP/1.0\r\n\r\n") == 400


def test_two_hosts_are_400_even_if_equal() -> None:
    assert refused(request(b"Host: a")) == 400


# ---- fields (RFC 9112 §5)


@pytest.mark.parametrize(
    "field",
    [
        b"A : b",
        b" A: b",
        b"\tA: b",
        b": b",
        b"A",
        b"A b: c",
        b"A: b\x00",
        b"A: b\x01",
        b"A: b\x7f",
        b"A: b\rc",
        b"A: b\nC: d",
        b"A: b\r\n folded",
        b"A: b\r\n\tfolded",
        b"\xc3\xa4: b",
        b"A(: b",
    ],
)
def test_a_malformed_field_line_is_400_and_of_a_response_502(field: bytes) -> None:
    assert refused(request(field)) == 400
    with pytest.raises(UpstreamError, match="malformed_head"):
        read_response(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n", bodiless=False)


def test_a_blank_before_the_first_field_is_400() -> None:
    """RFC 9112 §2.2."""
    assert refused(b"GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n") == 400


def test_blanks_around_a_value_are_no_part_of_it() -> None:
    read = read_request(request(b"A: \t b  c\t ", b"B:", b"C:d", b"D:  "))
    assert read.fields.lines[1:] == ((b"a", b"b  c"), (b"b", b""), (b"c", b"d"), (b"d", b""))


def test_a_value_may_hold_any_byte_above_ascii() -> None:
    value = bytes(range(0x80, 0x100))
    assert read_request(request(b"A: " + value)).fields.values(b"a") == [value]


def test_same_named_fields_keep_their_order_and_their_spelling() -> None:
    """RFC 9110 §5.3."""
    fields = read_request(request(b"Cookie: 1", b"x: 0", b"COOKIE: 2")).fields
    assert fields.values(b"cookie") == [b"1", b"2"]
    assert fields.spelled == (b"Host", b"Cookie", b"x", b"COOKIE")


def test_elements_are_the_members_of_all_lines_without_the_empty_ones() -> None:
    """RFC 9110 §5.6.1."""
    fields = read_request(request(b"Connection: Close, ,\tX-a ,", b"Connection: b")).fields
    assert fields.elements(b"connection") == [b"close", b"x-a", b"b"]
