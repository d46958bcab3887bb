"""What a fuzzing client says to a WebSocket server: every kind of good and bad frame, by name.

A case is a dialogue: octets to send, and how many frames to wait for before the next.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from tests.e2e.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    RSV1,
    TEXT,
    close,
    frame,
)

SIZES = [0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20, 16 << 20]
VALID_CODES = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]
INVALID_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
INVALID_UTF8 = {
    "a lone continuation byte": b"\x80",
    "a cut sequence": b"\xe2\x82",
    "an overlong slash": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "a byte never used": b"\xff",
    "Latin-1 in the middle": b"caf\xe9 au lait",
}
TEXT_WITH_ALL_LENGTHS = "κόσμε, 世界 \U0001f30d".encode()


class Case(NamedTuple):
    """A dialogue: octets and the number of frames awaited, step by step."""

    name: str
    steps: tuple[tuple[bytes, int], ...]
    fields: tuple[str, ...] = ()


def one(name: str, octets: bytes, frames: int = 1) -> Case:
    return Case(name, ((octets, frames),))


def opcodes() -> Iterator[Case]:
    for opcode in range(16):
        for size in (0, 5, 126):
            payload = b"x" * size
            yield one(f"opcode {opcode:x} of {size}", frame(FIN | opcode, payload), 0)
        yield one(f"opcode {opcode:x} unfinished", frame(opcode, b"part"), 0)


def sizes() -> Iterator[Case]:
    for size in SIZES:
        content = random.Random(size).randbytes(size)
        yield one(f"binary of {size}", frame(FIN | BINARY, content))
        yield one(f"text of {size}", frame(FIN | TEXT, b"*" * size))


def fragments() -> Iterator[Case]:
    first, last = frame(TEXT, b"one "), frame(FIN | CONTINUATION, b"two")
    ping = frame(FIN | PING, b"between")
    yield one("two fragments", first + last)
    yield one("a ping between fragments", first + ping + last, 2)
    yield one("a pong between fragments", first + frame(FIN | PONG, b"!") + last)
    yield Case("an answered ping between fragments", ((first + ping, 1), (last, 1)))
    yield one("a hundred fragments", first + frame(0, b".") * 100 + last)
    yield one("empty fragments", frame(TEXT) + frame(CONTINUATION) + frame(FIN | CONTINUATION))
    yield one("a fragmented ping", frame(PING, b"a") + frame(FIN | CONTINUATION, b"b"))
    yield one("a continuation of nothing", frame(FIN | CONTINUATION, b"what?"))
    yield one("a message within a message", first + frame(FIN | TEXT, b"new"))
    yield one("a close between fragments", first + close(1000))
    octets = first + ping + last
    yield Case("one byte at a time", tuple((octets[at : at + 1], 0) for at in range(len(octets))))


def pings() -> Iterator[Case]:
    for size in (0, 1, 124, 125, 126, 127, 65536):
        yield one(f"a ping of {size}", frame(FIN | PING, b"p" * size))
    yield one("a pong nobody asked for", frame(FIN | PONG, b"here") + frame(FIN | TEXT, b"after"))
    yield one("ten pings", b"".join(frame(FIN | PING, b"%d" % at) for at in range(10)), 10)


def texts() -> Iterator[Case]:
    yield one("text of every UTF-8 length", frame(FIN | TEXT, TEXT_WITH_ALL_LENGTHS))
    for name, octets in INVALID_UTF8.items():
        yield one(f"text with {name}", frame(FIN | TEXT, octets))
        halves = frame(TEXT, octets[:1]) + frame(FIN | CONTINUATION, octets[1:])
        yield one(f"text with {name} over two frames", halves)
        yield one(f"bytes with {name}", frame(FIN | BINARY, octets))
    for at in range(1, len(TEXT_WITH_ALL_LENGTHS)):
        head, tail = TEXT_WITH_ALL_LENGTHS[:at], TEXT_WITH_ALL_LENGTHS[at:]
        yield one(f"good text split at {at}", frame(TEXT, head) + frame(FIN | 0, tail))


def violations() -> Iterator[Case]:
    for bits in range(1, 8):
        for name, opcode in {"text": TEXT, "binary": BINARY, "ping": PING, "close": CLOSE}.items():
            octets = frame(FIN | bits << 4 | opcode, b"\x03\xe8")
            yield one(f"reserved bits {bits:03b} on {name}", octets)
    yield one("an unmasked text", frame(FIN | TEXT, b"bare", key=None))
    yield one("an unmasked ping", frame(FIN | PING, b"bare", key=None))
    yield one("an unmasked close", frame(FIN | CLOSE, b"\x03\xe8", key=None))
    yield one("a mask of zeros", frame(FIN | TEXT, b"as it is", key=bytes(4)))
    yield one("a small size written large", b"\x82\xfe\x00\x05" + bytes(4) + b"large")
    yield one("a small size written very large", b"\x82\xff" + b"\0" * 7 + b"\x05\0\0\0\0large")


def closes() -> Iterator[Case]:
    for code in [*VALID_CODES, *INVALID_CODES]:
        yield one(f"close {code}", close(code))
    yield one("close without a code", close())
    yield one("close with half a code", close(reason=b"\x03"))
    yield one("close with a reason", close(1000, "schön".encode()))
    yield one("close with the longest reason", close(1000, b"r" * 123))
    yield one("close with too long a reason", close(1000, b"r" * 124))
    yield one("close with a reason of bad UTF-8", close(1000, b"\xff"))
    yield one("frames after a close", close(1000) + frame(FIN | TEXT, b"late") + close(1001))


def compressed() -> Iterator[Case]:
    offers = ["", "; client_max_window_bits", "; server_no_context_takeover"]
    offers += ["; client_no_context_takeover", "; server_max_window_bits=10", "; unknown=1"]
    for offer in offers:
        field = f"Sec-WebSocket-Extensions: permessage-deflate{offer}"
        yield Case(f"deflate offered{offer}", ((frame(FIN | TEXT, b"plain"), 1),), (field,))
    offered = ("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover",)
    for name, octets in deflated_messages():
        yield Case(f"deflate: {name}", ((octets, 1),), offered)


def deflated_messages() -> Iterator[tuple[str, bytes]]:
    first = FIN | RSV1
    noise = random.Random(7).randbytes(70000)
    yield "a text", frame(first | TEXT, deflated(b"hello hello hello"))
    yield "nothing", frame(first | TEXT, deflated(b""))
    yield "what compresses well", frame(first | BINARY, deflated(bytes(1 << 20)))
    yield "what does not compress", frame(first | BINARY, deflated(noise))
    body = deflated(b"in two parts " * 9)
    yield "fragments", frame(RSV1 | TEXT, body[:9]) + frame(FIN | 0, body[9:])
    yield "the bit on the last fragment", frame(TEXT, body[:9]) + frame(first, body[9:])
    yield "the bit on a ping", frame(first | PING, b"ping")
    yield "no deflate data", frame(first | TEXT, b"\xff\xff\xff\xff")
    yield "bad UTF-8 within", frame(first | TEXT, deflated(b"\xff\xfe"))


def deflated(content: bytes) -> bytes:
    """A message's payload compressed without context (RFC 7692 §7.2.1)."""
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(content) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


CASES = [
    *opcodes(),
    *sizes(),
    *fragments(),
    *pings(),
    *texts(),
    *violations(),
    *closes(),
    *compressed(),
]
