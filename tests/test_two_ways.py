"""What is remembered of octets is what is made of them anew: of the corpus, and of made-up ones.

The same on the wire: tests/e2e/wire/test_fast_lane_corpus.py.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_two_readers import RESPONSES, TARGET, Written, damaged, messages
from tests.wire.corpus import ASKED, cases
from tests.wire.two_ways import (
    LEAVING,
    judged_answer,
    judged_request,
    remembered_answer,
    remembered_request,
)

REQUESTS = messages(TARGET.map(lambda target: b"GET %b HTTP/1.1" % target), b"Host: a.example")
OF_REQUESTS = [case for valid in (True, False) for case in cases(valid=valid, response=False)]
OF_RESPONSES = [case for valid in (True, False) for case in cases(valid=valid, response=True)]


def same_request(octets: bytes, learned: bytes) -> bool:
    """Whether it is known; then both ways must agree."""
    known = remembered_request(octets, learned)
    if known is not None:
        assert known == judged_request(octets)
    return known is not None


def same_answer(octets: bytes, request: bytes) -> bool:
    known = remembered_answer(octets, request)
    if known is not None:
        assert known == judged_answer(octets, request)
    return known is not None


def test_each_request_of_the_corpus_goes_on_the_same_both_ways() -> None:
    known = [case for case in OF_REQUESTS if same_request(case.octets, case.octets)]
    assert len(known) > 20
    assert all(case.valid for case in known)


def test_each_response_of_the_corpus_goes_on_the_same_both_ways() -> None:
    known = [case for case in OF_RESPONSES if same_answer(case.octets, ASKED)]
    assert len(known) > 20
    assert all(case.valid for case in known)
    assert [case for case in OF_RESPONSES if same_answer(case.octets, LEAVING)] == known


@settings(max_examples=300, deadline=None)
@given(REQUESTS)
def test_a_request_goes_on_the_same_both_ways(written: Written) -> None:
    octets = b"".join(written)
    same_request(octets, octets)


@settings(max_examples=300, deadline=None)
@given(damaged(REQUESTS), REQUESTS)
def test_a_damaged_request_is_judged_anew_or_known_as_it_is(
    octets: bytes, learned: Written
) -> None:
    same_request(octets, b"".join(learned))
    same_request(octets, octets)


@settings(max_examples=300, deadline=None)
@given(RESPONSES | damaged(RESPONSES).map(lambda octets: Written(octets, b"")), st.booleans())
def test_an_answer_goes_on_the_same_both_ways(written: Written, leaving: bool) -> None:
    same_answer(b"".join(written), LEAVING if leaving else ASKED)


@pytest.mark.parametrize("length", [b"2", b"02", b"0", b"3"])
def test_an_answer_is_known_by_its_length_and_not_by_how_it_is_written(length: bytes) -> None:
    octets = b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\nok" % length
    assert same_answer(octets, ASKED) is (int(length) == 2)
