"""The PROXY protocol's header, versions 1 and 2: whose connection a connection is. Pure.

Law: a header is read whole and exactly, or the connection is worth nothing; whatever it says beyond
addresses is skipped by its length.

Sections are those of https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt
"""

import re
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Literal, NamedTuple

from .fields import plain_address

Version = Literal["v1", "v2"]

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_PORT = rb"(0|[1-9][0-9]{0,4})"
_V1_LINE = re.compile(
    rb"PROXY (?:UNKNOWN[^\r\n]*|TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) %b %b)\r\n"
    % (_PORT, _PORT)
)
# §2.1: the longest line that may be sent.
V1_LIMIT = 107
# §2.2 allows 65551. nginx takes 4096, which holds all that is sent but whole certificates.
V2_LIMIT = 4096
_V2_HEAD = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
# Family and transport: TCP over IPv4 and over IPv6.
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESSES = {_TCP4: struct.Struct("!4s4sHH"), _TCP6: struct.Struct("!16s16sHH")}


class Endpoints(NamedTuple):
    """Both ends of a client's connection: the client's own, and the one that it connected to.

    Addresses are plain ones (`fields.plain_address`); a port that is not known is 0.
    """

    source: str
    source_port: int
    destination: str
    destination_port: int

    @classmethod
    def of(cls, peer: Any, own: Any) -> "Endpoints | None":
        """The ends as the kernel writes them (`peername`, `sockname`); None for other than TCP."""
        if not isinstance(peer, tuple) or not isinstance(own, tuple):
            return None
        return cls(plain_address(peer[0]), peer[1], plain_address(own[0]), own[1])

    def from_client(self, address: str) -> "Endpoints":
        """The same for a client whom a proxy in between has named, without a port."""
        return self if address == self.source else self._replace(source=address, source_port=0)


class Header(NamedTuple):
    """What stands before a connection's own bytes: so many octets; 0 where no header is.

    `endpoints` is None where the sender speaks for itself (LOCAL, UNKNOWN, not TCP).
    """

    endpoints: Endpoints | None
    size: int


def read_header(data: bytes) -> Header | None:
    """The header of a connection that begins with `data`; None while it may still be coming.

    Raises ValueError where it is malformed or too long.
    """
    if data.startswith(_V2):
        return _read_v2(data)
    if data.startswith(_V1):
        return _read_v1(data)
    begun = _V1.startswith(data) or _V2.startswith(data)
    return None if begun else Header(None, 0)


def _read_v1(data: bytes) -> Header | None:
    end = data.find(b"\n", 0, V1_LIMIT) + 1
    if not end:
        if len(data) >= V1_LIMIT:
            raise ValueError("the line is too long")
        return None
    match = _V1_LINE.fullmatch(data, 0, end)
    if match is None:
        raise ValueError("the line is malformed")
    family, *told = match.groups()
    if family is None:
        return Header(None, end)
    kind = IPv4Address if family == b"4" else IPv6Address
    source, destination = (str(kind(each.decode("ascii"))) for each in told[:2])
    source_port, destination_port = map(int, told[2:])
    if max(source_port, destination_port) > 65535:
        raise ValueError("there is no such port")
    return Header(_endpoints(source, source_port, destination, destination_port), end)


def _read_v2(data: bytes) -> Header | None:
    if len(data) < _V2_HEAD.size:
        return None
    _, command, kind, length = _V2_HEAD.unpack_from(data)
    size = _V2_HEAD.size + length
    if command not in (_LOCAL, _PROXY) or kind >> 4 > 3 or kind & 15 > 2:
        raise ValueError("an unknown version, command or family")
    addresses = _ADDRESSES.get(kind) if command == _PROXY else None
    if addresses is not None and length < addresses.size:
        raise ValueError("the addresses are cut")
    if size > V2_LIMIT:
        raise ValueError("the header is too long")
    if len(data) < size:
        return None
    if addresses is None:
        return Header(None, size)
    source, destination, *ports = addresses.unpack_from(data, _V2_HEAD.size)
    return Header(
        _endpoints(str(ip_address(source)), ports[0], str(ip_address(destination)), ports[1]), size
    )


def _endpoints(source: str, source_port: int, destination: str, destination_port: int) -> Endpoints:
    return Endpoints(
        plain_address(source), source_port, plain_address(destination), destination_port
    )


def written_header(version: Version, endpoints: Endpoints | None) -> bytes:
    """The header that announces a connection; None: it is the proxy's own (UNKNOWN, LOCAL)."""
    if endpoints is None:
        return b"PROXY UNKNOWN\r\n" if version == "v1" else _V2_HEAD.pack(_V2, _LOCAL, 0, 0)
    source, destination = _of_one_family(endpoints)
    ports = endpoints.source_port, endpoints.destination_port
    if version == "v1":
        line = f"PROXY TCP{source.version} {source} {destination} {ports[0]} {ports[1]}\r\n"
        return line.encode("ascii")
    kind = _TCP4 if source.version == 4 else _TCP6
    addresses = _ADDRESSES[kind].pack(source.packed, destination.packed, *ports)
    return _V2_HEAD.pack(_V2, _PROXY, kind, len(addresses)) + addresses


def _of_one_family(
    endpoints: Endpoints,
) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]:
    """Both addresses; where they differ in family, IPv4 as IPv6 has it (RFC 4291 §2.5.5.2)."""
    source, destination = ip_address(endpoints.source), ip_address(endpoints.destination)
    if source.version == destination.version:
        return source, destination
    return _as_ipv6(source), _as_ipv6(destination)


def _as_ipv6(address: IPv4Address | IPv6Address) -> IPv6Address:
    if isinstance(address, IPv6Address):
        return address
    return IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
