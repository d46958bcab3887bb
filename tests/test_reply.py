"""A response on its way to the client, without anybody's connection."""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.chunked import ChunkedReader, chunk, last_chunk
from proxy.config import Config
from proxy.errors import UpstreamError
from proxy.head import read_request, read_response
from proxy.reply import Reply
from proxy.routing import Table
from tests.decoder import Decoder
from tests.scene import GET, reply

HTTP10 = GET.replace(b"HTTP/1.1", b"HTTP/1.0")
CHUNKED, LENGTH_5 = b"Transfer-Encoding: chunked", b"Content-Length: 5"


def begun(*fields: bytes, asked: bytes = GET, may_persist: bool = True, site: Any = None) -> Reply:
    """The reply to `asked` whose head, as the origin sent it, has these fields."""
    written = {"to": "http://127.0.0.1:1", **(site or {})}
    config = Config.model_validate({"sites": {"a": written}})
    site = Table(config.sites).site("a")
    assert site is not None
    request = read_request(asked)
    response = read_response(reply(*fields), bodiless=request.method == b"HEAD")
    rules = site.default.rules
    return Reply(request, response, rules, config.limits, date=b"d", may_persist=may_persist)


@pytest.mark.parametrize(
    ("field", "octets"), [(LENGTH_5, b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")]
)
def test_the_end_is_made_with_the_last_octet_and_not_before(field: bytes, octets: bytes) -> None:
    made = begun(field)
    for at in range(len(octets) - 1):
        made.read(octets[at : at + 1])
        assert not made.done
    made.read(octets[-1:])
    assert made.done


@pytest.mark.parametrize(("asked", "end"), [(GET, b"0\r\n\r\n"), (HTTP10, b"")])
def test_a_body_that_ends_with_its_connection_is_whole_then(asked: bytes, end: bytes) -> None:
    made = begun(b"A: b", asked=asked)
    made.read(b"hello")
    assert not made.done
    assert made.end() == end
    assert made.done
    assert not made.upstream_persists


@pytest.mark.parametrize("field", [LENGTH_5, CHUNKED])
def test_a_body_that_breaks_off_has_no_end(field: bytes) -> None:
    made = begun(field)
    made.read(b"4\r\nh")
    with pytest.raises(UpstreamError):
        made.end()
    assert not made.done


def test_the_clients_connection_persists_only_where_both_the_client_and_the_proxy_want() -> None:
    closing = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert begun(LENGTH_5).persist
    assert not begun(LENGTH_5, may_persist=False).persist
    assert not begun(LENGTH_5, asked=closing).persist


def test_the_upstream_persists_unless_it_says_otherwise_or_said_too_much() -> None:
    for octets, persists in ((b"hello", True), (b"hello!", False)):
        made = begun(LENGTH_5)
        made.read(octets)
        assert made.upstream_persists is persists
    made = begun(LENGTH_5, b"Connection: close")
    made.read(b"hello")
    assert not made.upstream_persists


# Coded.

ZIPPED = GET.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip\r\n\r\n")
JSON, LENGTH_600 = b"Content-Type: application/json", b"Content-Length: 600"


def coded(*fields: bytes, asked: bytes = ZIPPED, **rules: object) -> Reply:
    return begun(JSON, *fields, asked=asked, site={"compress": True, **rules})


def unzipped(octets: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(octets)


def unchunked(octets: bytes) -> bytes:
    chunks = ChunkedReader(request=False, trailers_limit=1000)
    content = chunks.read(octets)
    assert chunks.done
    return content


def test_nothing_is_coded_unless_the_operator_says_so() -> None:
    made = begun(JSON, LENGTH_600, asked=ZIPPED)
    assert made.head == begun(JSON, LENGTH_600).head
    assert made.read(b"x" * 600) == b"x" * 600


@pytest.mark.parametrize("field", [LENGTH_600, b"A: b"])
def test_a_coded_body_goes_on_in_chunks(field: bytes) -> None:
    made = coded(field)
    assert b"\r\nTransfer-Encoding: chunked\r\n" in made.head
    assert b"Content-Length" not in made.head
    octets = made.read(b"x" * 600)
    if not made.done:
        octets += made.end()
    assert unzipped(unchunked(octets)) == b"x" * 600
    assert made.persist


def test_a_coded_body_for_http10_ends_with_its_connection() -> None:
    made = coded(LENGTH_600, asked=ZIPPED.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert b"\r\nConnection: close\r\n" in made.head
    assert b"Transfer-Encoding" not in made.head
    assert unzipped(made.read(b"x" * 600)) == b"x" * 600
    assert not made.persist


def test_each_piece_of_a_coded_body_can_be_decoded_when_it_comes() -> None:
    made, decoder = coded(CHUNKED), zlib.decompressobj(31)
    chunks = ChunkedReader(request=False, trailers_limit=1000)
    for piece in (b"5\r\nhello\r\n", b"5\r\nworld\r\n"):
        assert decoder.decompress(chunks.read(made.read(piece))) == piece[3:8]


def test_half_a_coded_body_has_no_end_of_either_coding() -> None:
    made, decoder = coded(LENGTH_600), zlib.decompressobj(31)
    chunks = ChunkedReader(request=False, trailers_limit=1000)
    assert decoder.decompress(chunks.read(made.read(b"x" * 599))) == b"x" * 599
    with pytest.raises(UpstreamError):
        made.end()
    assert (chunks.done, decoder.eof) == (False, False)


def test_head_has_the_head_of_a_coded_answer_and_no_octets() -> None:
    made = coded(LENGTH_600, asked=ZIPPED.replace(b"GET", b"HEAD"))
    assert b"\r\nContent-Encoding: gzip\r\n" in made.head
    assert b"Content-Length" not in made.head
    assert made.read(b"") == b""
    assert made.done
    assert made.persist


def test_a_trailer_that_vouches_for_other_octets_is_dropped() -> None:
    made = coded(CHUNKED)
    octets = made.read(b"1\r\nx\r\n0\r\nRepr-Digest: sha-256=:x:\r\nX-Sum: 1\r\n\r\n")
    assert octets.endswith(b"\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_the_operators_own_vary_names_the_coding_too() -> None:
    made = coded(LENGTH_600, response_headers={"Vary": "Origin"})
    assert made.head.lower().count(b"\r\nvary:") == 1
    assert b"\r\nVary: Origin, Accept-Encoding\r\n" in made.head


def test_where_the_operator_says_how_content_is_coded_nothing_is() -> None:
    made = coded(LENGTH_600, response_headers={"Content-Encoding": "br"})
    assert made.read(b"x" * 600) == b"x" * 600


@pytest.mark.parametrize("coding", [b"zstd", b"gzip"])
@given(data=st.data(), content=st.binary(min_size=600, max_size=5000), sized=st.booleans())
def test_however_an_answer_is_cut_it_decodes_to_what_the_origin_sent(
    coding: bytes, data: st.DataObject, content: bytes, sized: bool
) -> None:
    asked = ZIPPED.replace(b"gzip", coding)
    field = b"Content-Length: %d" % len(content) if sized else CHUNKED
    octets = content if sized else _in_chunks(content, data)
    made, chunks, decoder = coded(field, asked=asked), _chunks(), Decoder(coding)
    decoded = b""
    for piece in _cut(octets, data):
        decoded += decoder.decode(chunks.read(made.read(piece)))
    assert decoded == content
    assert (made.done, chunks.done, decoder.complete) == (True, True, True)


def _chunks() -> ChunkedReader:
    return ChunkedReader(request=False, trailers_limit=1000)


def _cut(octets: bytes, data: st.DataObject) -> list[bytes]:
    cuts = data.draw(st.lists(st.integers(1, len(octets) - 1), max_size=12, unique=True))
    ends = [0, *sorted(cuts), len(octets)]
    return [octets[begin:end] for begin, end in pairwise(ends)]


def _in_chunks(content: bytes, data: st.DataObject) -> bytes:
    return b"".join(map(chunk, _cut(content, data))) + last_chunk(b"")


# ---- a chunk that came alone


def test_a_chunk_that_would_be_written_as_it_stands_is_not_written_again() -> None:
    made, came = begun(CHUNKED), chunk(b"an event")
    assert made.read(came) is came
    assert made.read(chunk(b"x" * 300) + b"0\r\n\r\n") == chunk(b"x" * 300) + last_chunk(b"")
    assert made.done


@pytest.mark.parametrize(
    "came",
    [
        b"05\r\nhello\r\n",
        b"A\r\n0123456789\r\n",
        b"5 \r\nhello\r\n",
        b"5;a=b\r\nhello\r\n",
        b"2\r\nhe\r\n3\r\nllo\r\n",
    ],
)
def test_any_other_chunk_is_framed_anew(came: bytes) -> None:
    content = b"0123456789" if came[:1] == b"A" else b"hello"
    assert begun(CHUNKED).read(came) == chunk(content)


@pytest.mark.parametrize("came", [b"5\r\nhello!\r\n", b"5\r\nhello\n\n", b"5\nhello\r\n"])
def test_a_malformed_chunk_that_came_alone_is_no_chunk(came: bytes) -> None:
    with pytest.raises(ValueError, match="chunk"):
        begun(CHUNKED).read(came)


def test_what_looks_like_a_chunk_within_another_is_content() -> None:
    made, inner = begun(CHUNKED), chunk(b"hello")
    made.read(b"14\r\n")
    assert made.read(inner) == chunk(inner)
