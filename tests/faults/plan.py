"""What one exchange is to be: written into the request's target, so both its ends know it.

Law: every byte of content, either way, stands in a mark of its own exchange. Whoever reads a mark
of another one holds bytes that are not his.
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

HOST = "app.example.com"
MARK = re.compile(rb"<(\d{10})>")
METHODS = (b"GET", b"GET", b"GET", b"GET", b"HEAD", b"POST", b"POST", b"PUT")

# What the client may see: a whole answer; a status of the proxy's own; an answer without its end.
WHOLE, CUT = "200", "cut"
BAD, SLOW = "502", "504"

# Each fault by what may come of it at a connection that is fresh. `whole` is none.
OUTCOMES: dict[str, frozenset[str]] = {
    "whole": frozenset({WHOLE}),
    "last": frozenset({WHOLE}),
    "last-unsaid": frozenset({WHOLE}),
    "dripped": frozenset({WHOLE}),
    "hinted": frozenset({WHOLE}),
    "early": frozenset({WHOLE}),
    "early-end": frozenset({WHOLE, BAD, CUT}),
    "content-with-204": frozenset({WHOLE}),
    "surplus": frozenset({WHOLE}),
    "second-answer": frozenset({WHOLE}),
    "late-surplus": frozenset({WHOLE}),
    "late-answer": frozenset({WHOLE}),
    "closed-at-once": frozenset({BAD}),
    "reset-at-once": frozenset({BAD}),
    "garbage": frozenset({BAD}),
    "half-head": frozenset({BAD}),
    "reset-in-head": frozenset({BAD}),
    "endless-head": frozenset({BAD}),
    "two-lengths": frozenset({BAD}),
    "length-and-chunks": frozenset({BAD}),
    "hints-without-end": frozenset({BAD}),
    "switched-unasked": frozenset({BAD}),
    "silent": frozenset({SLOW}),
    "half-body": frozenset({CUT}),
    "reset-in-body": frozenset({CUT, BAD}),
    "stalled-body": frozenset({CUT}),
    "bad-chunk": frozenset({CUT, BAD}),
}
# Rare, for each takes seconds of waiting.
WAITING = ("silent", "stalled-body")
# Sent in one piece, so that nothing but the proxy decides how it is read.
SMALL = ("surplus", "second-answer", "late-surplus", "late-answer", "content-with-204")
BROKEN = ("half-body", "reset-in-body", "stalled-body", "bad-chunk")


class Plan(NamedTuple):
    """One exchange: its `token`, the origin's `fault`, how its answer and its request are framed.

    `framing` is `length`, `chunked` or `close`; `size` counts bytes of content of the answer,
    `sent` those of the request, which is chunked where `chunked`. `named`: a field of the
    answer holds the token as well.
    """

    token: int
    method: bytes
    fault: str
    framing: str
    size: int
    sent: int
    chunked: bool
    named: bool = True

    @property
    def target(self) -> bytes:
        told = (
            self.token,
            self.fault,
            self.framing,
            self.size,
            self.sent,
            int(self.chunked),
            int(self.named),
        )
        return b"/%010d/" % self.token + "/".join(map(str, told[1:])).encode()

    @classmethod
    def of(cls, method: bytes, target: bytes) -> Plan:
        """The plan that a request line holds. ValueError where it holds none."""
        _, token, fault, framing, size, sent, *flags = target.decode("ascii").split("/")
        if fault not in OUTCOMES:
            raise ValueError(fault)
        chunked, named = (flag == "1" for flag in flags)
        return cls(int(token), method, fault, framing, int(size), int(sent), chunked, named)

    @property
    def outcomes(self) -> frozenset[str]:
        """What the client may see of it.

        A request that must not be repeated may meet a connection that its origin has just ended.
        """
        told = OUTCOMES[self.fault]
        if self.method == b"HEAD" and self.fault in BROKEN:
            told = frozenset({WHOLE, BAD})
        return told | {BAD} if self.method == b"POST" else told

    @property
    def answer(self) -> bytes:
        """The content that a whole answer has."""
        bodiless = self.method == b"HEAD" or self.fault == "content-with-204"
        return b"" if bodiless else content(self.token, self.size)

    def request(self) -> list[bytes]:
        """The request in the pieces in which it may be sent."""
        fields = [b"Host: " + HOST.encode()]
        body = content(self.token, self.sent)
        if self.method in (b"POST", b"PUT"):
            length = b"Content-Length: %d" % len(body)
            fields.append(b"Transfer-Encoding: chunked" if self.chunked else length)
        line = b"%b %b HTTP/1.1" % (self.method, self.target)
        head = b"\r\n".join([line, *fields, b"", b""])
        if not body:
            return [head + b"0\r\n\r\n" if self.chunked else head]
        half = len(body) // 2
        return [head, *framed([body[:half], body[half:]], chunked=self.chunked)]


def content(token: int, size: int) -> bytes:
    """`size` bytes full of the token's marks."""
    mark = b"<%010d>" % token
    return (mark * (size // len(mark) + 1))[:size]


def framed(pieces: list[bytes], *, chunked: bool) -> list[bytes]:
    """The pieces of a body, in chunks with their end, or as they are."""
    if not chunked:
        return pieces
    return [*(b"%x\r\n%b\r\n" % (len(it), it) for it in pieces if it), b"0\r\n\r\n"]


def strangers(octets: bytes, token: int) -> list[int]:
    """The tokens other than this in what its client, or its origin's side of it, has read."""
    return [found for mark in MARK.findall(octets) if (found := int(mark)) != token]


class Plans:
    """Plans without end, each with a token of its own; the same for the same seed.

    `faulty` is the share of those with a fault, `named` whether answers name the token in a field.
    """

    def __init__(self, seed: int, *, faulty: float = 0.4, named: bool = True) -> None:
        self.random = random.Random(seed)
        self.token, self._faulty, self._named = 0, faulty, named
        self._faults = [name for name in OUTCOMES if name != "whole" and name not in WAITING]

    def next(self) -> Plan:
        chance, self.token = self.random, self.token + 1
        method, fault = chance.choice(METHODS), self._fault()
        sends = method in (b"POST", b"PUT")
        sizes = (40, 300, 3000) if fault in SMALL else (0, 1, 40, 300, 3000, 30_000, 200_000)
        framing = chance.choice(("length", "length", "chunked", "close"))
        if fault in BROKEN:
            sizes, framing = (40, 3000, 200_000), chance.choice(("length", "chunked"))
        if fault in ("bad-chunk", *SMALL):
            framing = "chunked" if fault == "bad-chunk" else "length"
        return Plan(
            self.token,
            method,
            fault,
            framing,
            chance.choice(sizes),
            chance.choice((0, 5, 600, 20_000)) if sends else 0,
            sends and chance.random() < 0.5,
            self._named,
        )

    def _fault(self) -> str:
        dice = self.random.random()
        if dice < 0.004 * self._faulty:
            return self.random.choice(WAITING)
        return self.random.choice(self._faults) if dice < self._faulty else "whole"
