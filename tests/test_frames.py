"""Where WebSocket frames begin and end, however their bytes are cut (RFC 6455 §5.2)."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, FrameProtocol

from proxy.frames import Frames, close_frame

CLOSE, PING, TEXT = 0x8, 0x9, 0x1


def frame(size: int, *, opcode: int = TEXT, masked: bool = False, final: bool = True) -> bytes:
    """A frame whose payload has that size, in the shortest form of its length."""
    mask = 0x80 if masked else 0
    if size < 126:
        length = bytes([mask | size])
    elif size < 1 << 16:
        length = bytes([mask | 126]) + size.to_bytes(2)
    else:
        length = bytes([mask | 127]) + size.to_bytes(8)
    return bytes([0x80 * final | opcode]) + length + b"mask" * masked + b"\x88" * size


SIZES = [0, 1, 125, 126, 127, 65535, 65536]


def test_nothing_is_under_way_before_the_first_byte() -> None:
    assert Frames().between


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_under_way_until_its_last_byte(size: int, masked: bool) -> None:
    octets = frame(size, masked=masked)
    cuts = {*range(1, 16), len(octets) - 1, len(octets) // 2} & set(range(1, len(octets)))
    for cut in sorted(cuts):
        frames = Frames()
        frames.follow(octets[:cut])
        assert not frames.between, cut
        frames.follow(octets[cut:])
        assert frames.between, cut


def test_several_frames_in_one_read_are_followed_to_the_last() -> None:
    frames = Frames()
    frames.follow(frame(3) + frame(200, masked=True) + frame(5)[:-1])
    assert not frames.between
    frames.follow(b"x")
    assert frames.between


def test_a_close_among_others_is_seen() -> None:
    frames = Frames()
    frames.follow(frame(3) + frame(2, opcode=CLOSE) + frame(1))
    assert frames.closed


def test_a_close_is_seen_with_its_head() -> None:
    frames = Frames()
    frames.follow(frame(2, opcode=CLOSE)[:2])
    assert frames.closed
    assert not frames.between


def test_a_payload_that_looks_like_a_close_is_none() -> None:
    frames = Frames()
    for octet in frame(60):
        frames.follow(bytes([octet]))
    assert not frames.closed


@pytest.mark.parametrize("size", SIZES)
def test_of_a_read_the_rest_of_the_frame_under_way_is_known_at_every_byte(size: int) -> None:
    octets = frame(size, masked=True)
    for cut in [*range(1, 15), len(octets) - 1]:
        if cut < len(octets):
            frames = Frames()
            frames.follow(octets[:cut])
            assert frames.rest_of_frame(octets[cut:] + frame(9)) == len(octets) - cut


def test_between_two_frames_nothing_belongs_to_a_frame_under_way() -> None:
    frames = Frames()
    frames.follow(frame(3))
    assert frames.rest_of_frame(frame(3)) == 0


def test_while_a_frames_length_is_unknown_all_belongs_to_it() -> None:
    frames = Frames()
    frames.follow(frame(65536)[:1])
    assert frames.rest_of_frame(frame(65536)[1:5]) == 4


@pytest.mark.parametrize("masked", [False, True])
def test_our_close_is_1001_and_masked_as_a_client_must(masked: bool) -> None:
    """RFC 6455 §5.3, §7.4.1."""
    reader = FrameProtocol(client=not masked, extensions=[])
    reader.receive_bytes(close_frame(masked=masked))
    [read] = reader.received_frames()
    assert (read.opcode, read.payload) == (CLOSE, (CloseReason.GOING_AWAY, ""))


FRAME = st.builds(
    frame,
    st.sampled_from([0, 1, 2, 125, 126, 127, 300]),
    opcode=st.sampled_from([0, TEXT, 2, PING, 10, CLOSE]),
    masked=st.booleans(),
    final=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(FRAME, max_size=5), st.lists(st.integers(0, 700), max_size=8))
def test_however_frames_are_cut_it_is_known_when_none_is_under_way(
    written: list[bytes], cuts: list[int]
) -> None:
    octets = b"".join(written)
    ends = {0, *accumulate(map(len, written))}
    frames = Frames()
    for start, end in pairwise(sorted({0, *(c for c in cuts if c < len(octets)), len(octets)})):
        frames.follow(octets[start:end])
        assert frames.between == (end in ends)


@settings(max_examples=80, deadline=None)
@given(st.lists(FRAME, min_size=1, max_size=3), st.data())
def test_the_rest_of_a_frame_ends_where_the_frame_does(
    written: list[bytes], data: st.DataObject
) -> None:
    octets = b"".join(written)
    ends = [0, *accumulate(map(len, written))]
    cut = data.draw(st.integers(0, len(octets)))
    frames = Frames()
    frames.follow(octets[:cut])
    assert cut + frames.rest_of_frame(octets[cut:]) == min(end for end in ends if end >= cut)
