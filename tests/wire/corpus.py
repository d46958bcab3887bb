"""The cases of the wire corpus: bytes that one side sends, and what must come of them.

Law: what an expectation says, a test checks: a word that is not known here is an error. The format
is told in README.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.message_stream import FieldLines, Head, Stream

FOLDER = Path(__file__).parent
HOST, OTHER = "app.example.com", "other.example.com"
# Small, so that a case of each limit can be read.
LIMITS = {"request_head": "2048B", "request_body": "1024B", "response_head": "4096B"}
# What the origin is asked where a case of a response does not say it.
ASKED = b"GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n"

_WORDS = {
    "rule": re.compile(r"RFC \d{4} §[\d.]+(, RFC \d{4} §[\d.]+)*"),
    "answer": re.compile(r"[45]\d\d|200|none|aborted"),
    "sender": re.compile(r"closes"),
    "upstream": re.compile(r"unfinished|closed"),
    "client": re.compile(r"closed"),
}
_OWN = """\
Via: {version} hopward
X-Forwarded-Proto: https
X-Forwarded-Host: {host}
X-Forwarded-For: 127.0.0.1
X-Request-ID: {{id}}"""
_PLACEHOLDERS = {
    b"X-Request-ID: {id}": re.compile(rb"X-Request-ID: [0-9a-f]{2,32}"),
    b"Date: {date}": re.compile(
        rb"Date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    ),
}
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|[rnt0\\])")
_ESCAPED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


class Whole(NamedTuple):
    """A whole message: the lines of its head as they stand, its content out of any chunks."""

    lines: tuple[bytes, ...]
    content: bytes
    trailers: FieldLines

    @property
    def octets(self) -> bytes:
        """The message as it is sent where its content comes in no chunks."""
        return b"\r\n".join([*self.lines, b"", self.content])

    def like(self, expected: Whole) -> Whole:
        """The same with the placeholders of `expected` where what stands here fits them."""
        lines = list(self.lines)
        for at, line in enumerate(expected.lines[: len(lines)]):
            pattern = _PLACEHOLDERS.get(line)
            if pattern is not None and pattern.fullmatch(lines[at]):
                lines[at] = line
        return self._replace(lines=tuple(lines))


@dataclass(frozen=True)
class Case:
    """`octets` of a client, or of an origin where `response`; the rest is what must come of them.

    `answer` is the proxy's own: a status, "none", or "aborted" for a response that may begin and
    must not end. `sender_closes`: nothing comes behind the octets.
    """

    name: str
    valid: bool
    octets: bytes
    rules: tuple[str, ...]
    answer: str
    sender_closes: bool
    upstream: str
    client_closed: bool
    request: bytes
    upstream_sees: tuple[Whole, ...]
    client_sees: tuple[Whole, ...]

    @property
    def response(self) -> bool:
        return self.name.startswith("response-")

    def __str__(self) -> str:
        return self.name


def cases(*, valid: bool, response: bool) -> list[Case]:
    """The cases of one kind, in the order of their names."""
    files = sorted(FOLDER.joinpath("valid" if valid else "invalid").glob("*.http"))
    return [case for file in files if (case := read(file)).response == response]


def read(file: Path) -> Case:
    """The case of one `.http` file. ValueError where its expectation is none."""
    text = file.with_suffix(".expect").read_text("utf-8")
    about, *sections = re.split(r"\n== (?=\w+$)", text, flags=re.MULTILINE)
    words = _words(about, file.name)
    seen = [section.partition("\n")[::2] for section in sections]
    if unknown := {name for name, _ in seen} - {"request", "upstream", "client"}:
        raise ValueError(f"{file.name}: no section is called {unknown}")
    asked = [whole(text).octets for name, text in seen if name == "request"]
    return Case(
        name=file.stem,
        valid=file.parent.name == "valid",
        octets=file.read_bytes(),
        rules=tuple(words.get("rule", "").split(", ")),
        answer=words.get("answer", ""),
        sender_closes="sender" in words,
        upstream=words.get("upstream", ""),
        client_closed="client" in words,
        request=asked[0] if asked else ASKED,
        upstream_sees=tuple(whole(text) for name, text in seen if name == "upstream"),
        client_sees=tuple(whole(text) for name, text in seen if name == "client"),
    )


def _words(about: str, name: str) -> dict[str, str]:
    words = {}
    for key, value in re.findall(r"^(\w+): (.*)$", about, re.MULTILINE):
        if key not in _WORDS or not _WORDS[key].fullmatch(value) or key in words:
            raise ValueError(f"{name}: {key}: {value}")
        words[key] = value
    if "rule" not in words or not about.partition("\n")[0].endswith("."):
        raise ValueError(f"{name}: it begins with a sentence, and a rule")
    return words


def whole(section: str) -> Whole:
    """A message as an expectation writes it."""
    head, _, rest = section.removesuffix("\n").partition("\n\n")
    content, mark, trailers = f"\n{rest}".partition("\n{trailers}\n")
    lines = tuple(map(_octets, _own_filled_in(head.removesuffix("\n")).split("\n")))
    return Whole(
        lines,
        _octets(content.removeprefix("\n")),
        [Head.of(b"\r\n" + _octets(line)).fields[0] for line in trailers.split("\n") if mark],
    )


def _own_filled_in(head: str) -> str:
    host = re.search(r"^Host: (.*)$", head, re.MULTILINE)
    return re.sub(
        r"^\{own(?: (1\.0))?\}$",
        lambda found: _OWN.format(version=found[1] or "1.1", host=host[1] if host else ""),
        head,
        flags=re.MULTILINE,
    )


def _octets(text: str) -> bytes:
    return _ESCAPE.sub(
        lambda found: _ESCAPED.get(found[1]) or bytes.fromhex(found[1][1:].decode()),
        text.encode("ascii"),
    )


def next_whole(stream: Stream, *, bodiless: bool = False) -> Whole:
    """The next message of a stream. Raises StreamEndedError where it is cut."""
    block = stream.until(b"\r\n\r\n").removesuffix(b"\r\n\r\n")
    head = Head.of(block)
    status = head.status if head.line.startswith(b"HTTP/") else 200
    bodiless = bodiless or status < 200 or status in (204, 304)
    content, trailers = stream.rest_of(head, bodiless=bodiless)
    return Whole(tuple(block.split(b"\r\n")), content, trailers)


def expected_of(stream: Stream, expected: tuple[Whole, ...], method: bytes) -> Iterator[Whole]:
    """What the stream of a client holds in place of each message that is expected."""
    for each in expected:
        seen = next_whole(stream, bodiless=method == b"HEAD")
        if b" 101 " in seen.lines[0]:
            seen = seen._replace(content=stream.exactly(len(each.content)))
        yield seen.like(each)
