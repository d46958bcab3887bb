"""The wire corpus read by the pure rooms, whole and in single bytes; the corpus itself.

The same cases pass the running proxy in tests/e2e/wire/test_corpus.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.message_stream import Stream, StreamEndedError
from tests.wire.corpus import FOLDER, Case, Whole, cases, expected_of, next_whole, read
from tests.wire.rooms import Requests, Response

Receive = Callable[[bytes], None]
CUTS = pytest.mark.parametrize("cut", [0, 1], ids=["whole", "in single bytes"])


def fed(receive: Receive, octets: bytes, cut: int) -> None:
    step = cut or len(octets)
    for at in range(0, len(octets), step or 1):
        receive(octets[at : at + step])


def stream_of(octets: bytes) -> Stream:
    pieces = [octets, b""]
    return Stream(lambda: pieces.pop(0))


# ---- the corpus itself


def test_each_message_has_an_expectation_and_each_expectation_a_message() -> None:
    files = [file for kind in ("valid", "invalid") for file in FOLDER.joinpath(kind).iterdir()]
    assert Counter(file.suffix for file in files).keys() == {".http", ".expect"}
    assert set(Counter(file.with_suffix("") for file in files).values()) == {2}


@pytest.mark.parametrize(
    ("valid", "response"), [(a, b) for a in (True, False) for b in (True, False)]
)
def test_there_are_many_cases_of_each_kind(valid: bool, response: bool) -> None:
    assert len(cases(valid=valid, response=response)) >= 60


def test_no_two_cases_are_the_same() -> None:
    every = [c for v in (True, False) for r in (True, False) for c in cases(valid=v, response=r)]
    same = Counter((c.response, c.octets, c.request, c.sender_closes) for c in every)
    assert [key for key, count in same.items() if count > 1] == []


@pytest.mark.parametrize(
    "expectation",
    [
        "A sentence.\n\nrule: RFC 9112\n",
        "A sentence.\n\nanswer: 400\n",
        "rule: RFC 9112 §3\n",
        "A sentence.\n\nrule: RFC 9112 §3\nanswer: perhaps\n",
        "A sentence.\n\nrule: RFC 9112 §3\nanswers: 400\n",
        "A sentence.\n\nrule: RFC 9112 §3\nanswer: 400\nanswer: 431\n",
        "A sentence.\n\nrule: RFC 9112 §3\n\n== downstream\nGET / HTTP/1.1\n",
    ],
    ids=["no section of a document", "no rule", "no sentence", "unknown value", "unknown word",
         "a word twice", "unknown part"],
)  # fmt: skip
def test_an_expectation_that_could_expect_nothing_is_an_error(
    tmp_path: Path, expectation: str
) -> None:
    tmp_path.joinpath("request-x.http").write_bytes(b"")
    tmp_path.joinpath("request-x.expect").write_text(expectation)
    with pytest.raises(ValueError, match=r"request-x\.http"):
        read(tmp_path / "request-x.http")


# ---- requests


@CUTS
@pytest.mark.parametrize("case", cases(valid=True, response=False), ids=str)
def test_a_valid_request_goes_on_as_expected(case: Case, cut: int) -> None:
    requests = Requests()
    fed(requests.receive, case.octets, cut)
    assert requests.refusal is None
    if case.answer:
        assert requests.whole == 1
        return
    assert requests.whole == len(case.upstream_sees)
    assert requests.ended is case.client_closed
    origin = stream_of(bytes(requests.sent))
    assert [next_whole(origin).like(each) for each in case.upstream_sees] == [*case.upstream_sees]
    assert origin.ending().rest == b""


@CUTS
@pytest.mark.parametrize("case", cases(valid=False, response=False), ids=str)
def test_an_invalid_request_is_refused_or_never_complete(case: Case, cut: int) -> None:
    requests = Requests()
    fed(requests.receive, case.octets, cut)
    assert requests.refusal == (None if case.answer == "none" else int(case.answer))
    assert requests.whole == 0
    if case.upstream != "unfinished":
        assert requests.sent == b""
    elif requests.sent:
        with pytest.raises(StreamEndedError):
            next_whole(stream_of(bytes(requests.sent)))


# ---- responses


@CUTS
@pytest.mark.parametrize("case", cases(valid=True, response=True), ids=str)
def test_a_valid_response_goes_on_as_expected(case: Case, cut: int) -> None:
    response = Response(case.request)
    fed(response.receive, case.octets, cut)
    if case.sender_closes:
        response.end()
    assert (response.refused, response.broken) == (False, False)
    assert seen_by_client(response, case) == [*case.client_sees]
    if response.reply is not None:
        assert response.reply.done
        assert response.reply.persist is not case.client_closed
        if not cut:
            assert response.reply.upstream_persists is (case.upstream != "closed")


def seen_by_client(response: Response, case: Case) -> list[Whole]:
    client = stream_of(response.sent)
    seen = list(expected_of(client, case.client_sees, response.request.method))
    assert client.ending().rest == b""
    return seen


@CUTS
@pytest.mark.parametrize("case", cases(valid=False, response=True), ids=str)
def test_an_invalid_response_is_refused_or_seen_to_break(case: Case, cut: int) -> None:
    response = Response(case.request)
    fed(response.receive, case.octets, cut)
    if case.sender_closes:
        response.end()
    assert response.refused or (response.broken and case.answer == "aborted")
    if response.broken and b"chunked" in response.sent:
        with pytest.raises(StreamEndedError):
            next_whole(stream_of(response.sent))
