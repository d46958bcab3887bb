"""Requests that servers are known to understand in different ways, and plain ones beside them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: app.example.com\r\n\r\n"

# What every server of the list must understand.
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"HEAD", b"PATCH"])
TARGETS = st.text("abcXYZ019-._~%2Fé/".replace("é", ""), max_size=12).map(
    lambda text: b"/" + text.replace("%", "%41").encode()
)
# nginx refuses a path that climbs above its root.
TARGETS = TARGETS.filter(lambda target: b".." not in target)
QUERIES = st.one_of(
    st.just(b""),
    st.text("ab=&%;+/?:@", min_size=1, max_size=10).map(
        lambda text: b"?q" + text.replace("%", "%00%FF").encode()
    ),
)
PLAIN_LINES = st.sampled_from(
    [
        b"Accept: */*",
        b"Cookie: a=b; c=d",
        b"X-Empty:",
        b"X-Blanks: \t a \t ",
        b"X-Twice: 1",
        b"X-Twice: 2",
        b"Connection: keep-alive",
        b"Connection: x-twice",
        b"TE: trailers",
        b"Connection: TE",
        b"Accept-Encoding: gzip, br",
        b"Via: 1.0 fred",
        b"Pragma: no-cache",
        b"Upgrade-Insecure-Requests: 1",
        b"Range: bytes=0-",
        b"Keep-Alive: timeout=5",
        b"User-Agent:",
        b'X-Quoted: "a, b"',
        b"X-High: \xe4\xf6",
        b"Max-Forwards: 7",
    ]
)
# Some servers refuse a second line of what can only be said once.
SOME_PLAIN_LINES = st.lists(PLAIN_LINES, max_size=4, unique=True)
CONTENT = st.one_of(st.binary(max_size=30), st.just(SMUGGLED), st.just(b"0\r\n\r\n" + SMUGGLED))
EXTENSIONS = st.sampled_from([b"", b"", b";a=b", b';a="b;c"', b";\xff", b';a="\\""'])

# Lines that are wrong, odd, or right but misread by somebody.
ODD_LINES = st.sampled_from(
    [
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length: +5",
        b"Content-Length: 5, 5",
        b"Content-Length: 0x5",
        b"Content-Length: 5_0",
        b"Content-Length:",
        b"Content-Length: -1",
        b"Content-Length : 5",
        b"Content-Length\t: 5",
        b" Content-Length: 5",
        b"Content-Length: 05",
        b"X: y\r\n Content-Length: 5",
        b"X: y\nContent-Length: 5",
        b"X: y\rContent-Length: 5",
        b"Content-Length: 5\r\n 6",
        b"Content-Length: 9223372036854775808",
        b"Content_Length: 5",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: Chunked",
        b"transfer-encoding:chunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t:chunked",
        b" Transfer-Encoding: chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding:\x0bchunked",
        b'Transfer-Encoding: "chunked"',
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: ,chunked",
        b"Transfer_Encoding: chunked",
        b"Transfer-Encoding: chunked\x00",
        b"Transfer-Encoding: \xa0chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"Transfer-Encoding\x00: chunked",
        b"Connection: Content-Length",
        b"Connection: Transfer-Encoding",
        b"Connection: Host",
        b"Connection: close",
        b"Connection: Upgrade\r\nUpgrade: h2c",
        b"Expect: 100-continue",
        b"Host: other.example.com",
        b"Host : app.example.com",
        b"Host: app.example.com, other",
        b" Host: a",
        b"X-Forwarded-For: 1.2.3.4",
        b"X_Forwarded_For: 1.2.3.4",
        b"Trailer: Content-Length",
        b"HTTP2-Settings: AAMAAABkAAQAAP__",
        b"X-Original-URL: /smuggled",
        b"X-HTTP-Method-Override: PUT",
    ]
)
ODD_FIRST_LINES = st.sampled_from(
    [
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /\tx HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET / HTTP/1.2",
        b"GET / HTTP/2.0",
        b"GET /",
        b"GET / HTTP/1.1\nX: y",
        b"GET http://app.example.com/abs HTTP/1.1",
        b"GET http://other.example.com/ HTTP/1.1",
        b"GET //app.example.com/x HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET * HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT app.example.com:443 HTTP/1.1",
        b"get / HTTP/1.1",
        b"P / HTTP/1.1",
        b"GET /\xc3\xa4 HTTP/1.1",
        b"GET /%zz[]{}|^` HTTP/1.1",
        b"GET /../x HTTP/1.1",
        b"GET /a\\b HTTP/1.1",
        b"POST /x HTTP/1.1",
        b"POST /x HTTP/1.0",
        b"PRI * HTTP/2.0",
        b"GET ?x HTTP/1.1",
        b"GET /?? HTTP/1.1",
    ]
)


class Valid(NamedTuple):
    """A request that every server must understand as this; `octets` hold it in full."""

    octets: bytes
    method: bytes
    target: bytes
    body: bytes


@st.composite
def bodies(draw: st.DrawFn) -> tuple[list[bytes], bytes, bytes]:
    """(field lines, octets, content): framed by a length, in chunks, or not at all."""
    content = draw(CONTENT)
    framing = draw(st.sampled_from(["none", "length", "chunked", "chunked"]))
    if framing == "none":
        return [], b"", b""
    if framing == "length":
        return [b"Content-Length: %d" % len(content)], content, content
    cut = draw(st.integers(0, len(content)))
    pieces = [piece for piece in (content[:cut], content[cut:]) if piece]
    zeros = draw(st.sampled_from([b"", b"", b"000"]))
    octets = b"".join(
        b"%b%X%b\r\n%b\r\n" % (zeros, len(piece), draw(EXTENSIONS), piece) for piece in pieces
    )
    trailer = draw(st.sampled_from([b"", b"", b"X-Trailer: a\r\n", b"Connection: x\r\n"]))
    return [b"Transfer-Encoding: chunked"], octets + b"0\r\n" + trailer + b"\r\n", content


@st.composite
def valid(draw: st.DrawFn, host: bytes) -> Valid:
    """Requests of odd but legal shapes."""
    method, target = draw(METHODS), draw(TARGETS) + draw(QUERIES)
    lines, octets, content = draw(bodies())
    if method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
        lines, octets, content = [], b"", b""
    lines = draw(st.permutations([b"Host: " + host, *lines, *draw(SOME_PLAIN_LINES)]))
    head = b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), *lines, b"", b""])
    blank = draw(st.sampled_from([b"", b"", b"\r\n"]))
    return Valid(blank + head + octets, method, target, content)


@st.composite
def damaged(draw: st.DrawFn, host: bytes) -> bytes:
    """What may or may not be a request, with another right behind it."""
    first = draw(
        st.one_of(ODD_FIRST_LINES, st.just(b"POST /x HTTP/1.1"), st.just(b"POST /x HTTP/1.1"))
    )
    lines, octets, _ = draw(bodies())
    lines = [
        *lines,
        *draw(st.lists(ODD_LINES, max_size=2)),
        *draw(st.lists(PLAIN_LINES, max_size=1)),
    ]
    if draw(st.integers(0, 9)):
        lines.append(b"Host: " + host)
    octets = b"\r\n".join([first, *draw(st.permutations(lines)), b"", b""]) + octets
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at, gone = draw(st.integers(0, len(octets))), draw(st.integers(0, 2))
        new = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b":", b"0", b"\0", b"\x0b", b"\t"])
        )
        octets = octets[:at] + new + octets[at + gone :]
    behind = SMUGGLED.replace(b"app.example.com", host)
    return octets + draw(st.sampled_from([b"", behind, behind]))
