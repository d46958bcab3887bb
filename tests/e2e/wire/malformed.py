"""Messages that two readers could understand differently, and what the proxy answers to each.

Every field of the tables is bytes as they stand on the wire; {} there is no placeholder.
"""

from __future__ import annotations

from typing import NamedTuple

HOST_LINE = b"Host: app.example.com\r\n"
LINE = b"POST / HTTP/1.1\r\n"
POST = LINE + HOST_LINE
CHUNKED = b"Transfer-Encoding: chunked\r\n"

HEAD_LIMIT = 2048
BODY_LIMIT = 1024
RESPONSE_HEAD_LIMIT = 4096


class Case(NamedTuple):
    """A message, what it is called, and the status that it deserves."""

    name: str
    octets: bytes
    status: int


def _field(name: str, line: bytes, status: int = 400, body: bytes = b"") -> Case:
    return Case(name, POST + line + b"\r\n\r\n" + body, status)


def _line(name: str, line: bytes, status: int = 400) -> Case:
    return Case(name, line + b"\r\n" + HOST_LINE + b"\r\n", status)


def _host(name: str, lines: bytes, status: int = 400) -> Case:
    return Case(name, b"GET / HTTP/1.1\r\n" + lines + b"\r\n", status)


BAD_LENGTHS = {
    "signed": b"+5",
    "negative": b"-5",
    "hexadecimal": b"0x5",
    "underscored": b"1_0",
    "empty": b"",
    "spaced": b"1 0",
    "exponent": b"1e1",
    "fraction": b"5.0",
    "overflowing": b"99999999999999999999999",
    "wrapping": b"18446744073709551621",
    "superscript": b"\xb2",
    "differing list": b"5, 6",
    "unfinished list": b"5,",
}

FRAMING = [
    _field("length and coding", b"Content-Length: 5\r\n" + CHUNKED[:-2], body=b"0\r\n\r\n"),
    _field("coding and length", CHUNKED + b"Content-Length: 5", body=b"0\r\n\r\n"),
    _field("coding and length 0", CHUNKED + b"Content-Length: 0", body=b"0\r\n\r\n"),
    _field("two lengths", b"Content-Length: 5\r\nContent-Length: 6", body=b"hello!"),
    _field("a good length and a bad one", b"Content-Length: 5\r\nContent-Length: x", body=b"hello"),
    *(_field(f"length {name}", b"Content-Length: " + it) for name, it in BAD_LENGTHS.items()),
    _field("a coding that is not chunked", b"Transfer-Encoding: gzip"),
    _field("chunked not last", b"Transfer-Encoding: chunked, gzip"),
    _field("chunked twice", b"Transfer-Encoding: chunked, chunked"),
    _field("chunked on two lines", CHUNKED + CHUNKED[:-2]),
    _field("identity", b"Transfer-Encoding: identity"),
    _field("no coding", b"Transfer-Encoding:"),
    _field("a coding with a vertical tab", b"Transfer-Encoding: \x0bchunked"),
    _field("a coding with NUL", b"Transfer-Encoding: chunked\x00"),
    _field("a blank before the coding's colon", b"Transfer-Encoding : chunked"),
    _field("a folded coding", b"Transfer-Encoding:\r\n chunked"),
    _field("unknown coding", b"Transfer-Encoding: cow", 501),
    _field("unknown coding first", b"Transfer-Encoding: cow, chunked", 501),
    _field("nearly chunked", b"Transfer-Encoding: xchunked", 501),
    Case("a coding in HTTP/1.0", POST.replace(b"/1.1", b"/1.0") + CHUNKED + b"\r\n0\r\n\r\n", 400),
]

SYNTAX = [
    _field("bare LF between fields", b"A: b\nC: d"),
    _field("bare CR in a value", b"A: b\rC: d"),
    _field("bare CR before CRLF", b"A: b\r"),
    _field("NUL in a value", b"A: b\x00c"),
    _field("a control byte in a value", b"A: b\x01c"),
    _field("DEL in a value", b"A: b\x7fc"),
    _field("NUL in a name", b"A\x00b: c"),
    _field("blank before the colon", b"A : b"),
    _field("tab before the colon", b"A\t: b"),
    _field("folded by a blank", b"A: b\r\n c"),
    _field("folded by a tab", b"A: b\r\n\tc"),
    _field("no name", b": b"),
    _field("no colon", b"nothing at all"),
    _field("a name of two words", b"A B: c"),
    _field("a bracket in a name", b"A(B): c"),
    _field("a name beyond ASCII", b"\xc4: c"),
    Case("blank before the first field", LINE + b" " + HOST_LINE + b"\r\n", 400),
    Case("tab before the first field", LINE + b"\tA: b\r\n" + HOST_LINE + b"\r\n", 400),
    Case("bare LF after the request line", LINE[:-2] + b"\n" + HOST_LINE + b"\r\n", 400),
    Case("bare LF at the end of the head", POST + b"\n", 400),
    Case("bare LF everywhere", (POST + b"\r\n").replace(b"\r\n", b"\n"), 400),
    Case("bare CR everywhere", (POST + b"\r\n").replace(b"\r\n", b"\r") + b"\r\n\r\n", 400),
    Case("bare LF before the request", b"\n" + POST + b"\r\n", 400),
    Case("blank before the request", b" " + POST + b"\r\n", 400),
    Case("TLS within TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(32), 400),
]

REQUEST_LINES = [
    _line("no version", b"GET /"),
    _line("no target", b"GET HTTP/1.1"),
    _line("no method", b" / HTTP/1.1"),
    _line("two blanks", b"GET  / HTTP/1.1"),
    _line("two blanks before the version", b"GET /  HTTP/1.1"),
    _line("tabs", b"GET\t/\tHTTP/1.1"),
    _line("a blank at the end", b"GET / HTTP/1.1 "),
    _line("a blank in the target", b"GET /a b HTTP/1.1"),
    _line("NUL in the target", b"GET /\x00 HTTP/1.1"),
    _line("a control byte in the target", b"GET /\x1b HTTP/1.1"),
    _line("bare CR in the target", b"GET /\rX HTTP/1.1"),
    _line("a method that is no token", b"G(T / HTTP/1.1"),
    _line("a relative target", b"GET x HTTP/1.1"),
    _line("an asterisk for GET", b"GET * HTTP/1.1"),
    _line("an absolute target without authority", b"GET https:///x HTTP/1.1"),
    _line("an absolute target with a user", b"GET https://me@app.example.com/ HTTP/1.1"),
    _line("an absolute target of another scheme", b"GET ftp://app.example.com/ HTTP/1.1"),
    _line("version in lower case", b"GET / http/1.1"),
    _line("version without its minor", b"GET / HTTP/1"),
    _line("version without a dot", b"GET / HTTP/11"),
    _line("version of two digits", b"GET / HTTP/1.10"),
    _line("version of another protocol", b"GET / ICY/1.1"),
    _line("version 2.0", b"GET / HTTP/2.0", 505),
    _line("version 1.2", b"GET / HTTP/1.2", 505),
    _line("version 0.9", b"GET / HTTP/0.9", 505),
    Case("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
]

HOSTS = [
    _host("no host", b"A: b\r\n"),
    _host("no field at all", b""),
    _host("the same host twice", HOST_LINE * 2),
    _host("two hosts", HOST_LINE + b"host: other.example.com\r\n"),
    _host("an empty host", b"Host:\r\n"),
    _host("a host with a blank", b"Host: app.example.com x\r\n"),
    _host("a list of hosts", b"Host: app.example.com, other.example.com\r\n"),
    _host("a port that is no number", b"Host: app.example.com:x\r\n"),
    _host("two ports", b"Host: app.example.com:1:2\r\n"),
    _host("a host with a path", b"Host: app.example.com/x\r\n"),
    _host("a host with a user", b"Host: me@app.example.com\r\n"),
    _host("a URL as host", b"Host: https://app.example.com\r\n"),
    _host("an unfinished address", b"Host: [::1\r\n"),
    Case("no host in HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", 400),
    Case(
        "no host beside an absolute target", b"GET https://app.example.com/ HTTP/1.1\r\n\r\n", 400
    ),
]

# What is malformed is 400 before it is anything else.
FIRST_OF_ALL = [
    _host("unknown host and a bad name", b"Host: unknown.example.com\r\nA B: c\r\n"),
    _host("wrong site and two framings", b"Host: other.example.com\r\nContent-Length: 1, 2\r\n"),
    Case("version 2.0 without host", b"GET / HTTP/2.0\r\n\r\n", 400),
    Case("CONNECT with a fold", b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n b\r\n\r\n", 400),
    Case("TRACE with a bare LF", b"TRACE / HTTP/1.1\r\n" + HOST_LINE + b"A: b\n\r\n\r\n", 400),
    _field("too large and a bad name", b"Content-Length: 99999\r\nA B: c"),
    _field("an unknown coding and a length", b"Transfer-Encoding: cow\r\nContent-Length: 1"),
]

LIMITS = [
    _line("a long target", b"GET /" + b"x" * HEAD_LIMIT + b" HTTP/1.1", 414),
    Case("a target without an end", b"GET /" + b"x" * 2 * HEAD_LIMIT, 414),
    _field("a long field", b"A: " + b"x" * HEAD_LIMIT, 431),
    _field("many fields", b"\r\n".join([b"A: b"] * (HEAD_LIMIT // 6 + 1)), 431),
    Case("fields without an end", POST + b"A: b\r\n" * (HEAD_LIMIT // 5), 431),
    _field("a long body", b"Content-Length: %d" % (BODY_LIMIT + 1), 413),
]

REQUESTS = [*FRAMING, *SYNTAX, *REQUEST_LINES, *HOSTS, *FIRST_OF_ALL, *LIMITS]

BAD_CHUNKS = {
    "size that is no number": b"g\r\n",
    "size with a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "size with an underscore": b"1_0\r\n",
    "blank before a size": b" 5\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "overflowing size": b"ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
    "endless size": b"0" * 20000,
    "size ended by LF": b"5\nhello\r\n0\r\n\r\n",
    "size ended by CR": b"5\rhello\r\n0\r\n\r\n",
    "data ended by LF": b"5\r\nhello\n0\r\n\r\n",
    "data longer than its size": b"2\r\nhello\r\n0\r\n\r\n",
    "data shorter than its size": b"7\r\nhello\r\n0\r\n\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    "endless extension": b"5;" + b"a" * 20000,
    "many extensions": (b"1;" + b"a" * 2000 + b"\r\nx\r\n") * 100,
    "last chunk ended by LF": b"0\n\r\n",
    "trailer with a blank before its colon": b"0\r\nA : b\r\n\r\n",
    "folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "trailer without a colon": b"0\r\nnothing\r\n\r\n",
    "trailer with NUL": b"0\r\nA: \x00\r\n\r\n",
    "trailer ended by LF": b"0\r\nA: b\nC: d\r\n\r\n",
    "trailer with a bare CR": b"0\r\nA: b\rC: d\r\n\r\n",
    "a length as trailer": b"0\r\nContent-Length: 5\r\n\r\n",
    "a coding as trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a host as trailer": b"0\r\nHost: app.example.com\r\n\r\n",
    "trailers over the limit": b"0\r\n" + b"A: bcdefghij\r\n" * 3000,
}

BODIES = [
    *(Case(name, body, 400) for name, body in BAD_CHUNKS.items()),
    Case("a long chunk", b"%x\r\n" % (BODY_LIMIT + 1) + bytes(BODY_LIMIT + 1), 413),
    Case(
        "many chunks",
        b"64\r\n" + bytes(100) + b"\r\n" * 1 + (b"64\r\n" + bytes(100) + b"\r\n") * 11,
        413,
    ),
]


def _response(name: str, lines: bytes) -> Case:
    return Case(name, b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n\r\nhello", 502)


def _status(name: str, line: bytes) -> Case:
    return Case(name, line + b"\r\nContent-Length: 5\r\n\r\nhello", 502)


RESPONSES = [
    _response("length and coding", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
    _response("two lengths", b"Content-Length: 5\r\nContent-Length: 6"),
    *(_response(f"length {name}", b"Content-Length: " + it) for name, it in BAD_LENGTHS.items()),
    _response("a coding that is not chunked", b"Transfer-Encoding: gzip"),
    _response("chunked not last", b"Transfer-Encoding: chunked, gzip"),
    _response("chunked twice", b"Transfer-Encoding: chunked, chunked"),
    _response("chunked on two lines", CHUNKED + CHUNKED[:-2]),
    _response("unknown coding", b"Transfer-Encoding: cow"),
    _response("no coding", b"Transfer-Encoding:"),
    Case("a coding in HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n0\r\n\r\n", 502),
    _response("blank before the colon", b"Content-Length : 5"),
    _response("folded by a blank", b"A: b\r\n c\r\nContent-Length: 5"),
    _response("folded by a tab", b"A: b\r\n\tc\r\nContent-Length: 5"),
    _response("blank before the first field", b" A: b\r\nContent-Length: 5"),
    _response("no name", b": b\r\nContent-Length: 5"),
    _response("no colon", b"nothing\r\nContent-Length: 5"),
    _response("a name of two words", b"A B: c\r\nContent-Length: 5"),
    _response("NUL in a value", b"A: \x00\r\nContent-Length: 5"),
    _response("a control byte in a value", b"A: \x1b[0m\r\nContent-Length: 5"),
    _response("bare CR in a value", b"A: b\rC: d\r\nContent-Length: 5"),
    _response("bare LF between fields", b"A: b\nC: d\r\nContent-Length: 5"),
    _status("version 2.0", b"HTTP/2.0 200 OK"),
    _status("version in lower case", b"http/1.1 200 OK"),
    _status("another protocol", b"ICY 200 OK"),
    _status("no version", b"200 OK"),
    _status("status of two digits", b"HTTP/1.1 20 OK"),
    _status("status of four digits", b"HTTP/1.1 2000 OK"),
    _status("status below 100", b"HTTP/1.1 099 Low"),
    _status("status that is no number", b"HTTP/1.1 2x0 OK"),
    _status("no status", b"HTTP/1.1"),
    _status("blank before the status line", b" HTTP/1.1 200 OK"),
    _status("NUL in the reason", b"HTTP/1.1 200 O\x00K"),
    _status("bare CR in the reason", b"HTTP/1.1 200 O\rK"),
    Case("bare LF everywhere", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello\r\n\r\n", 502),
    Case("no HTTP at all", b"220 mail.example.com ESMTP\r\n\r\n", 502),
    Case("a long field", b"HTTP/1.1 200 OK\r\nA: " + b"x" * RESPONSE_HEAD_LIMIT + b"\r\n\r\n", 502),
    Case("fields without an end", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * RESPONSE_HEAD_LIMIT, 502),
    Case("a status line without an end", b"HTTP/1.1 200 " + b"x" * 2 * RESPONSE_HEAD_LIMIT, 502),
    Case("a bad head after an interim one", b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 2\r\n\r\n", 502),
    Case("a bad interim one", b"HTTP/1.1 103 Hints\r\nA : b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 502),
]
