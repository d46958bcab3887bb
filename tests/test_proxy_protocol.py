"""The PROXY protocol's header: what is read of it, what is refused, what is written."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.proxy_protocol import (
    V1_LIMIT,
    V2_LIMIT,
    Endpoints,
    Header,
    Version,
    read_header,
    written_header,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ENDS = Endpoints("192.0.2.7", 40000, "198.51.100.1", 443)
ENDS6 = Endpoints("2001:db8::7", 40000, "2001:db8::1", 443)
FOUR = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 40000, 443)
SIX = IPv6Address("2001:db8::7").packed + IPv6Address("2001:db8::1").packed + FOUR[8:]
LOCAL, PROXY = 0x20, 0x21
NO_PORTS = b"\0" * 4
FULL_V6 = b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def v2(command: int, kind: int, rest: bytes = b"", length: int | None = None) -> bytes:
    size = len(rest) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, kind, size) + rest


ANNOUNCED = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n", ENDS),
    (b"PROXY TCP6 2001:db8::7 2001:DB8:0:0::1 40000 443\r\n", ENDS6),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 0 65535\r\n", ENDS._replace(
        source_port=0, destination_port=65535)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 40000 443\r\n", ENDS),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN " + FULL_V6 + b" " + FULL_V6 + b" 65535 65535\r\n", None),
    (b"PROXY UNKNOWN \0\xff anything\r\n", None),
    (v2(PROXY, 0x11, FOUR), ENDS),
    (v2(PROXY, 0x21, SIX), ENDS6),
    (v2(PROXY, 0x11, FOUR + b"\x04\x00\x01x"), ENDS),
    (v2(PROXY, 0x21, SIX + b"\x20\x00\x05\x01\0\0\0\0"), ENDS6),
    (v2(LOCAL, 0x00), None),
    (v2(LOCAL, 0x11, FOUR), None),
    (v2(PROXY, 0x00, b"\0" * 30), None),
    (v2(PROXY, 0x12, FOUR), None),
    (v2(PROXY, 0x31, b"/" * 216), None),
    (v2(PROXY, 0x11, FOUR + b"x" * (V2_LIMIT - 16 - 12)), ENDS),
]  # fmt: skip


@pytest.mark.parametrize(("octets", "ends"), ANNOUNCED)
@pytest.mark.parametrize("behind", [b"", b"\x16\x03\x01", b"PROXY TCP4"])
def test_a_header_is_read_and_what_stands_behind_it_is_the_connections_own(
    octets: bytes, ends: Endpoints | None, behind: bytes
) -> None:
    assert read_header(octets + behind) == Header(ends, len(octets))


@pytest.mark.parametrize(("octets", "_ends"), ANNOUNCED)
def test_a_header_is_read_when_it_is_whole_and_not_before(
    octets: bytes, _ends: Endpoints | None
) -> None:
    """§2.2: no address is read before the whole block is there."""
    assert [read_header(octets[:size]) for size in range(len(octets))] == [None] * len(octets)


@pytest.mark.parametrize(
    "octets",
    [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n", b"\r\nGET /", b"PROXYING", b"\r\n\r\nG"],
)
def test_other_first_octets_are_no_header(octets: bytes) -> None:
    assert read_header(octets) == Header(None, 0)


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\r\n",
        b"PROXY TCP4  192.0.2.7 198.51.100.1 40000 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443 \r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 040 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
        b"PROXY TCP4 192.0.2.07 198.51.100.1 40000 443\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 40000 443\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.1 40000 443\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 40000 443\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 40000 443\r\n",
        b"PROXY TCP6 2001:db8::7::1 2001:db8::1 40000 443\r\n",
        b"PROXY TCP6 fe80::1%lo 2001:db8::1 40000 443\r\n",
        b"PROXY TCP5 192.0.2.7 198.51.100.1 40000 443\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 40000 443\r\n",
        b"PROXY tcp4 192.0.2.7 198.51.100.1 40000 443\r\n",
        b"PROXY \r\n",
        b"PROXY / HTTP/1.1\r\n",
        b"PROXY UNKNOWN \r x\r\n",
        b"PROXY UNKNOWN " + b"x" * (V1_LIMIT - 15) + b"\r\n",
        b"PROXY UNKNOWN " + b"x" * 200,
    ],
)
def test_a_line_that_is_not_exactly_as_it_must_be_is_refused(line: bytes) -> None:
    """§2.1."""
    with pytest.raises(ValueError, match=r"."):
        read_header(line)


@pytest.mark.parametrize(
    "octets",
    [
        v2(0x11, 0x11, FOUR),
        v2(0x31, 0x11, FOUR),
        v2(0x22, 0x11, FOUR),
        v2(0x2F, 0x11, FOUR),
        v2(PROXY, 0x41, FOUR),
        v2(PROXY, 0x13, FOUR),
        v2(PROXY, 0x11, FOUR[:-1]),
        v2(PROXY, 0x21, SIX[:-1]),
        v2(PROXY, 0x11, FOUR, length=V2_LIMIT - 15),
        v2(LOCAL, 0x00, length=65535),
    ],
)
def test_a_block_that_is_unknown_cut_or_too_long_is_refused_before_it_has_come(
    octets: bytes,
) -> None:
    """§2.2."""
    with pytest.raises(ValueError, match=r"."):
        read_header(octets[:28])


addresses = st.one_of(
    st.builds(str, st.integers(0, 2**32 - 1).map(IPv4Address)),
    st.builds(
        str,
        st.integers(0, 2**128 - 1).map(IPv6Address).filter(lambda found: not found.ipv4_mapped),
    ),
)
ports = st.integers(0, 65535)


@given(
    version=st.sampled_from(("v1", "v2")),
    ends=st.builds(Endpoints, addresses, ports, addresses, ports),
)
def test_what_is_written_reads_as_what_was_meant(version: Version, ends: Endpoints) -> None:
    octets = written_header(version, ends)
    assert read_header(octets) == Header(ends, len(octets))


def test_the_lines_are_those_of_the_specification() -> None:
    assert written_header("v1", ENDS) == b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"
    assert written_header("v1", ENDS6) == b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n"
    assert written_header("v2", ENDS) == v2(PROXY, 0x11, FOUR)
    assert written_header("v2", ENDS6) == v2(PROXY, 0x21, SIX)


def test_ends_of_two_families_are_written_in_the_larger_one() -> None:
    mixed = ENDS6._replace(destination="198.51.100.1")
    assert written_header("v1", mixed).startswith(b"PROXY TCP6 2001:db8::7 ::ffff:")


def test_who_speaks_for_himself_says_so() -> None:
    assert written_header("v1", None) == b"PROXY UNKNOWN\r\n"
    assert written_header("v2", None) == v2(LOCAL, 0)


def test_the_ends_of_a_socket_are_plain_addresses() -> None:
    mapped = ("::ffff:192.0.2.7", 40000, 0, 0), ("::ffff:198.51.100.1", 443, 0, 0)
    assert Endpoints.of(*mapped) == ENDS
    assert Endpoints.of(("192.0.2.7", 40000), ("198.51.100.1", 443)) == ENDS
    assert Endpoints.of("", "/run/a.sock") is None


def test_a_client_that_a_proxy_in_between_has_named_has_no_port() -> None:
    assert ENDS.from_client("192.0.2.7") == ENDS
    assert ENDS.from_client("203.0.113.9") == ENDS._replace(source="203.0.113.9", source_port=0)
