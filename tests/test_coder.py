"""Content in a coding: it decodes to exactly what went in, as far as that had come."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.coder import coder_of
from tests.decoder import Decoder

CODINGS = [b"zstd", b"gzip"]
# zlib, zstd's block and a chunk's framing all together; nothing may cost a small piece more.
MOST_PER_PIECE = 24


@pytest.mark.parametrize("coding", CODINGS)
@given(pieces=st.lists(st.binary(max_size=3000), max_size=12))
def test_each_piece_can_be_decoded_as_soon_as_it_has_been_coded(
    coding: bytes, pieces: list[bytes]
) -> None:
    coder = coder_of(coding)
    decoder = Decoder(coding)
    for piece in pieces:
        assert decoder.decode(coder.code(piece, last=False)) == piece
        assert not decoder.complete
    assert decoder.decode(coder.code(b"", last=True)) == b""
    assert decoder.complete


@pytest.mark.parametrize("coding", CODINGS)
@given(content=st.binary(max_size=200_000))
def test_what_comes_at_once_is_whole_at_once(coding: bytes, content: bytes) -> None:
    decoder = Decoder(coding)
    coded = coder_of(coding).code(content, last=True)
    assert decoder.decode(coded) == content
    assert decoder.complete


@pytest.mark.parametrize("coding", CODINGS)
def test_a_large_content_of_every_kind_decodes_to_itself(coding: bytes) -> None:
    """Far beyond the windows, by what repeats and what does not."""
    chance = random.Random(7)
    content = b"".join(
        chance.randbytes(chance.randrange(5000)) + b"the same again " * chance.randrange(3000)
        for _ in range(60)
    )
    coder, decoder, decoded = coder_of(coding), Decoder(coding), b""
    at = 0
    while at < len(content):
        size = chance.randrange(1, 300_000)
        decoded += decoder.decode(coder.code(content[at : at + size], last=False))
        at += size
    decoded += decoder.decode(coder.code(b"", last=True))
    assert decoded == content


@pytest.mark.parametrize("coding", CODINGS)
def test_no_content_makes_no_octets_before_the_end(coding: bytes) -> None:
    assert coder_of(coding).code(b"", last=False) == b""


@pytest.mark.parametrize("coding", CODINGS)
def test_a_small_piece_costs_only_so_much_more_than_itself(coding: bytes) -> None:
    coder = coder_of(coding)
    coder.code(b"begin", last=False)
    for octet in random.Random(7).randbytes(1000):
        assert len(coder.code(bytes([octet]), last=False)) <= MOST_PER_PIECE


@pytest.mark.parametrize("coding", CODINGS)
def test_what_repeats_becomes_small(coding: bytes) -> None:
    text = b'{"name": "a torrent", "seeders": 12}\n' * 1000
    assert len(coder_of(coding).code(text, last=True)) < len(text) / 20


@pytest.mark.parametrize("coding", CODINGS)
@given(first=st.binary(max_size=3000), second=st.binary(max_size=3000), cut=st.booleans())
def test_no_content_tells_anything_of_another_one_before_it(
    coding: bytes, first: bytes, second: bytes, cut: bool
) -> None:
    """Whether that one was complete or broke off."""
    coder_of(coding).code(first, last=not cut)
    coded = coder_of(coding).code(second, last=True)
    assert Decoder(coding).decode(coded) == second
    assert coded == coder_of(coding).code(second, last=True)


@pytest.mark.parametrize("coding", CODINGS)
def test_contents_coded_at_one_time_do_not_mix(coding: bytes) -> None:
    for _ in range(3):
        coders = [(coder_of(coding), Decoder(coding), bytes([at]) * 100) for at in range(20)]
        for last in (False, True):
            for coder, decoder, content in coders:
                assert decoder.decode(coder.code(content, last=last)) == content
