"""Bencoding (BEP 3), as much of it as a torrent and a tracker's answers need."""

from __future__ import annotations

import hashlib

Bencodable = int | bytes | list["Bencodable"] | dict[bytes, "Bencodable"]


def encode(value: Bencodable) -> bytes:
    """The one bencoding of `value`; keys are sorted as raw bytes."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    pairs = (encode(key) + encode(value[key]) for key in sorted(value))
    return b"d" + b"".join(pairs) + b"e"


def decode(octets: bytes) -> Bencodable:
    """The value that `octets` hold, all of them; ValueError when something is left over."""
    value, end = _decode(octets, 0)
    if end != len(octets):
        raise ValueError(f"{len(octets) - end} bytes after the value")
    return value


def dictionary(octets: bytes) -> dict[bytes, Bencodable]:
    """The dictionary that `octets` hold."""
    value = decode(octets)
    if not isinstance(value, dict):
        raise TypeError(f"a dictionary was expected, not {octets!r}")
    return value


def _decode(octets: bytes, at: int) -> tuple[Bencodable, int]:
    kind = octets[at : at + 1]
    if kind == b"i":
        end = octets.index(b"e", at)
        return int(octets[at + 1 : end]), end + 1
    if kind in {b"l", b"d"}:
        return _decode_members(octets, at + 1, mapping=kind == b"d")
    colon = octets.index(b":", at)
    end = colon + 1 + int(octets[at:colon])
    return octets[colon + 1 : end], end


def _decode_members(octets: bytes, at: int, *, mapping: bool) -> tuple[Bencodable, int]:
    members: list[Bencodable] = []
    while octets[at : at + 1] != b"e":
        member, at = _decode(octets, at)
        members.append(member)
    if not mapping:
        return members, at + 1
    keys = [key for key in members[::2] if isinstance(key, bytes)]
    return dict(zip(keys, members[1::2], strict=True)), at + 1


def torrent(name: str, content: bytes, announce: str, piece: int = 65536) -> tuple[bytes, bytes]:
    """A metainfo file for one file with one tracker, and its info_hash (BEP 3)."""
    parts = (content[at : at + piece] for at in range(0, len(content), piece))
    info: Bencodable = {
        b"length": len(content),
        b"name": name.encode(),
        b"piece length": piece,
        b"pieces": b"".join(hashlib.sha1(part).digest() for part in parts),
        b"private": 1,  # peers come from this tracker alone (BEP 27)
    }
    metainfo = encode({b"announce": announce.encode(), b"info": info})
    return metainfo, hashlib.sha1(encode(info)).digest()
