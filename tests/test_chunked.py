"""The chunked coding: strictly read, plainly written (RFC 9112 §7.1)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.chunked import EXTENSIONS_LIMIT, LINE_LIMIT, ChunkedReader, chunk, last_chunk


def reader(*, request: bool = True, trailers_limit: int = 200) -> ChunkedReader:
    return ChunkedReader(request=request, trailers_limit=trailers_limit)


def refused(octets: bytes, *, request: bool = True) -> str:
    with pytest.raises(ValueError, match=r"chunk|trailers") as caught:
        reader(request=request).read(octets)
    return str(caught.value)


# ---- reading


def test_a_body_is_the_data_of_its_chunks() -> None:
    body = reader()
    assert body.read(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n") == b"hello world"
    assert body.done


def test_a_size_is_hexadecimal_in_either_case_and_may_have_leading_zeros() -> None:
    assert reader().read(b"00a\r\n0123456789\r\nB\r\n0123456789A\r\n") == b"01234567890123456789A"


def test_data_is_passed_on_before_its_chunk_is_complete() -> None:
    body = reader()
    assert body.read(b"a\r\n01234") == b"01234"
    assert body.read(b"5678") == b"5678"
    assert not body.done


def test_what_comes_behind_the_end_is_no_part_of_the_body() -> None:
    body = reader()
    assert body.read(b"1\r\na\r\n0\r\n\r\nGET /") == b"a"
    assert body.rest == b"GET /"


def test_data_may_look_like_a_chunk() -> None:
    assert reader().read(b"5\r\n0\r\n\r\n\r\n") == b"0\r\n\r\n"


@pytest.mark.parametrize("cut", range(len(b"3\r\nabc\r\n0\r\nA: b\r\n\r\n")))
def test_a_body_that_breaks_off_is_never_done(cut: int) -> None:
    """RFC 9112 §8: a truncated body never looks complete."""
    body = reader()
    body.read(b"3\r\nabc\r\n0\r\nA: b\r\n\r\n"[:cut])
    assert not body.done


@pytest.mark.parametrize(
    "line",
    [
        b"+1\r\n", b"-1\r\n", b"0x1\r\n", b"1_0\r\n", b"\r\n", b"g\r\n", b" 1\r\n", b"1 1\r\n",
        b"1\n", b"1\r\r\n", b"1" * 16 + b"\r\n", b"\xb2\r\n", b",1\r\n", b"1,\r\n",
    ],
)  # fmt: skip
def test_a_size_is_hexadecimal_digits_and_nothing_else(line: bytes) -> None:
    assert refused(line) == "malformed chunk line"
    assert refused(line, request=False) == "malformed chunk line"


def test_blanks_that_pad_a_size_are_taken_from_an_origin_but_not_from_a_client() -> None:
    octets = b"1  \r\na\r\n"
    assert reader(request=False).read(octets) == b"a"
    assert refused(octets) == "malformed chunk line"


@pytest.mark.parametrize("end", [b"b\r\n", b"\n", b"\r\r\n", b"\n\r", b"0\r\n"])
def test_a_chunk_longer_than_its_size_is_refused(end: bytes) -> None:
    assert refused(b"1\r\na" + end) == "chunk longer than its size"


@pytest.mark.parametrize(
    "extension",
    [b";a", b";a=b", b';a="b c"', rb';a="\"";b="\\"', b" ; a = b", b"\t;a", b";\xff", b";;", b";"],
)
def test_extensions_are_read_and_dropped(extension: bytes) -> None:
    """RFC 9112 §7.1.1: a recipient must ignore those it does not know."""
    assert reader().read(b"1" + extension + b"\r\na\r\n0" + extension + b"\r\n\r\n") == b"a"


@pytest.mark.parametrize("extension", [b";a\rb", b";a\nb", b";\x00", b";a\r", b";\x7f"])
def test_a_control_byte_in_an_extension_is_refused(extension: bytes) -> None:
    """h11 0.16 takes a bare CR there, and two readers would see two bodies."""
    assert refused(b"1" + extension + b"\r\na\r\n") == "malformed chunk line"


@pytest.mark.parametrize("extension", [b';a="', b';a="b', b';"a" "', b';a="\\"'])
def test_a_quote_that_is_opened_in_an_extension_must_be_closed(extension: bytes) -> None:
    """RFC 9112 §7.1.1: nobody shall look for its end beyond the line."""
    assert refused(b"1" + extension + b"\r\na\r\n") == "malformed chunk line"


def test_a_chunk_line_is_bounded_before_it_ends() -> None:
    longest = b"1;" + b"a" * (LINE_LIMIT - 4) + b"\r\n"
    assert reader().read(longest + b"x\r\n") == b"x"
    assert refused(b"1;" + b"a" * (LINE_LIMIT - 2)) == "chunk line too long"


def test_all_extensions_of_a_body_together_are_bounded() -> None:
    one = b"1;" + b"a" * 1023 + b"\r\nx\r\n"
    most = EXTENSIONS_LIMIT // 1024
    assert reader().read(one * most) == b"x" * most
    assert refused(one * (most + 1)) == "chunk extensions too long"


# ---- trailers (RFC 9112 §7.1.2)


def test_trailers_come_behind_the_last_chunk() -> None:
    body = reader()
    body.read(b"0\r\nA: b\r\nC: d\r\n\r\nrest")
    assert body.trailers.lines == ((b"a", b"b"), (b"c", b"d"))
    assert body.rest == b"rest"


def test_a_body_without_trailers_has_none() -> None:
    body = reader()
    body.read(b"0\r\n\r\n")
    assert body.trailers.lines == ()


def test_trailers_that_would_frame_the_message_are_refused() -> None:
    assert refused(b"0\r\nContent-Length: 5\r\n\r\n") == "trailers that frame or route"


@pytest.mark.parametrize("block", [b"A : b\r\n\r\n", b"A: b\nC: d\r\n\r\n", b" A: b\r\n\r\n"])
def test_malformed_trailers_are_refused(block: bytes) -> None:
    assert refused(b"0\r\n" + block) == "malformed trailers"


@pytest.mark.parametrize("block", [b"\n", b"A: b\n", b"A: b\r\n\n", b"A: b\rC", b"A: \x00"])
def test_trailers_that_no_byte_can_mend_are_refused_at_once(block: bytes) -> None:
    assert refused(b"0\r\n" + block) == "malformed trailers"


@pytest.mark.parametrize("over", [0, 1])
def test_trailers_are_bounded_by_the_limit_of_a_head(over: int) -> None:
    block = b"A: " + b"b" * (200 - 7 + over) + b"\r\n\r\n"
    if over:
        assert refused(b"0\r\n" + block) == "trailers too long"
    else:
        body = reader()
        body.read(b"0\r\n" + block)
        assert body.done


def test_endless_trailers_are_refused_before_their_end() -> None:
    assert refused(b"0\r\n" + b"A: b\r\n" * 40) == "trailers too long"


# ---- writing


def test_a_chunk_is_its_size_in_hexadecimal_and_its_data() -> None:
    assert chunk(b"0123456789") == b"a\r\n0123456789\r\n"


def test_the_last_chunk_carries_the_trailers() -> None:
    assert last_chunk(b"") == b"0\r\n\r\n"
    assert last_chunk(b"A: b\r\n") == b"0\r\nA: b\r\n\r\n"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50)))
def test_what_is_written_is_read_again(pieces: list[bytes]) -> None:
    body = reader()
    octets = b"".join(map(chunk, pieces)) + last_chunk(b"A: b\r\n")
    assert body.read(octets) == b"".join(pieces)
    assert (body.done, body.trailers.lines) == (True, ((b"a", b"b"),))


# ---- for any bytes

CHUNKISH = st.lists(
    st.sampled_from(
        [b"0", b"1", b"a", b"\r\n", b"\r", b"\n", b";", b" ", b"0\r\n\r\n", b"1\r\nx\r\n", b"A: b",
         b"0\r\n", b"2;e\r\nxy\r\n", b"0\r\nA: b\r\n\r\n", b"\x00"]
    )
    | st.binary(max_size=3),
    max_size=10,
).map(b"".join)  # fmt: skip


def outcome(octets: bytes, cuts: list[int]) -> tuple[bytes, bool, object, bytes] | str:
    """All that a reader makes of the pieces: the body, and what stands behind it."""
    body, data, at = reader(trailers_limit=20), b"", 0
    try:
        for cut in sorted({*cuts, len(octets)}):
            if body.done:
                break
            data += body.read(octets[at:cut])
            at = cut
    except ValueError as error:
        return str(error)
    return data, body.done, body.trailers, body.rest + octets[at:]


@settings(max_examples=300, deadline=None)
@given(CHUNKISH, st.lists(st.integers(0, 30), max_size=4))
def test_however_a_body_is_cut_it_is_read_the_same(octets: bytes, cuts: list[int]) -> None:
    assert outcome(octets, [cut for cut in cuts if cut < len(octets)]) == outcome(octets, [])


@settings(max_examples=100, deadline=None)
@given(CHUNKISH)
def test_a_body_in_single_bytes_is_read_the_same(octets: bytes) -> None:
    assert outcome(octets, list(range(len(octets)))) == outcome(octets, [])
