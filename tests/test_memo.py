"""What is remembered of a request and of an answer is what was made of them the first time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from proxy.config import Config
from proxy.head import read_request, read_response
from proxy.hop import Sender, request_after_host, request_line
from proxy.memo import MOST, Memo, Memos
from proxy.reply import Reply
from proxy.routing import Route, Table

HEAD = b"GET /announce?info_hash=%00 HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n"
OTHER = HEAD.replace(b"%00", b"%FF")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok"
NOW = b"Thu, 01 Jan 1970 00:00:00 GMT"
LATER = b"Thu, 01 Jan 1970 00:00:01 GMT"


def route_of(**site: Any) -> Route:
    config = Config.model_validate({"sites": {"a": {"to": "http://127.0.0.1:1", **site}}})
    found = Table(config.sites).site("a")
    assert found is not None
    return found.default


LIMITS = Config.model_validate({"sites": {"a": "http://127.0.0.1:1"}}).limits


def learned(head: bytes = HEAD, **site: Any) -> Memo:
    route = route_of(**site)
    memo = Memo(route.rules)
    assert memo.learn_request(head, read_request(head))
    return memo


def taught(answer: bytes = ANSWER, date: bytes = NOW) -> Memo:
    """A memo that has seen the answer as often as it takes."""
    memo = learned()
    memo.answer(answer, date, persist=True)
    for _ in range(2):
        memo.learn_answer(answer, read_request(HEAD), LIMITS, date)
    return memo


# Requests.


def test_a_request_with_the_same_fields_is_known_whatever_its_target() -> None:
    found = learned().request(OTHER, NOW)
    assert found is not None
    target, known = found
    assert target == b"/announce?info_hash=%FF"
    assert known.request(target) == read_request(OTHER)._replace(fields=known.fields)


def test_what_it_becomes_is_what_it_became_the_first_time() -> None:
    route = route_of(request_headers={"X-Own": "1", "User-Agent": None})
    memo = Memo(route.rules)
    request = read_request(HEAD)
    memo.learn_request(HEAD, request)
    found = memo.request(HEAD, NOW)
    assert found is not None
    target, known = found
    sender = Sender("192.0.2.1", b"7f", trusted=False)
    said = b"X-Forwarded-For: 192.0.2.1\r\nX-Request-ID: 7f"
    assert b"GET " + target + known.front + said + known.tail == (
        request_line(request, request.host) + request_after_host(request, route.rules, sender, ())
    )


@pytest.mark.parametrize(
    "data",
    [
        HEAD[:-1],
        HEAD + b"x",
        HEAD + HEAD,
        HEAD.replace(b"Agent: x", b"Agent: y"),
        HEAD.replace(b"GET", b"HEAD"),
        HEAD.replace(b"GET /", b"GET http://a/"),
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD.replace(b"%00 ", b"%00  "),
        HEAD.replace(b"%00", b"\x00"),
        HEAD.replace(b"%00", b"#"),
        b"\r\n" + HEAD,
        HEAD.replace(b"\r\n", b"\n", 1),
        b"",
    ],
)
def test_what_differs_in_anything_but_its_target_is_not_known(data: bytes) -> None:
    assert learned().request(data, NOW) is None


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b"GET", b"POST"),
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD.replace(b"GET /", b"GET http://b/"),
        HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n"),
        HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        HEAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
        HEAD.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        HEAD.replace(b"x\r\n\r\n", b"x" * 2000 + b"\r\n\r\n"),
    ],
)
def test_what_needs_more_than_its_fields_to_be_known_is_not_remembered(head: bytes) -> None:
    memo = Memo(route_of().rules)
    assert not memo.learn_request(head, read_request(head))


@given(target=some.binary(max_size=40))
def test_no_target_is_known_that_the_gate_would_refuse(target: bytes) -> None:
    data = HEAD.replace(b"/announce?info_hash=%00", target)
    found = learned().request(data, NOW)
    if found is not None:
        assert read_request(data).target == found[0]


@pytest.mark.parametrize(
    "site",
    [
        {"allow": ["192.0.2.0/24"]},
        {"rate_limit": {"requests": 1, "per": "1s"}},
        {"health": {"path": "/"}},
        {"compress": True},
        {"host_header": "upstream"},
        {"request_headers": {"X-Forwarded-For": None}},
        {"to": ["http://127.0.0.1:1", "http://127.0.0.1:2"]},
        {"to": {"url": "http://127.0.0.1:1", "proxy_protocol": "v1"}},
    ],
)
def test_a_route_that_asks_for_more_than_bytes_has_no_memo(site: dict[str, Any]) -> None:
    assert Memos().of(route_of(**site)) is None


def test_a_full_memory_begins_anew() -> None:
    memos, route = Memos(), route_of()
    heads = [HEAD.replace(b"Agent: x", b"Agent: %d" % number) for number in range(MOST + 1)]
    assert all(memos.learn(route, head, read_request(head)) for head in heads)
    memo = memos.of(route)
    assert memo is not None
    assert memo.request(heads[0], NOW) is None
    assert memo.request(heads[-1], NOW) is not None


# Answers.


def test_an_answer_is_known_from_its_third_time_on() -> None:
    memo = learned()
    for _ in range(2):
        assert memo.answer(ANSWER, NOW, persist=True) is None
        memo.learn_answer(ANSWER, read_request(HEAD), LIMITS, NOW)
    assert memo.answer(ANSWER, NOW, persist=True) is not None


def test_what_an_answer_becomes_is_what_it_became_the_first_time() -> None:
    found = taught().answer(ANSWER, NOW, persist=True)
    assert found is not None
    body, answer = found
    request, rules = read_request(HEAD), route_of().rules
    response = read_response(ANSWER[:body], bodiless=False)
    reply = Reply(request, response, rules, LIMITS, date=NOW, may_persist=True)
    assert (answer.head, answer.status) == (reply.head, 200)
    assert ANSWER[body:] == b"ok"


def test_an_answer_with_another_body_of_the_same_length_is_known() -> None:
    assert taught().answer(ANSWER[:-2] + b"no", NOW, persist=True) is not None


@pytest.mark.parametrize(
    "data",
    [
        ANSWER[:-1],
        ANSWER + b"x",
        ANSWER[:-4],
        ANSWER.replace(b"X: y", b"X: z"),
        ANSWER.replace(b"200", b"201"),
        b"",
        b"ok",
    ],
)
def test_an_answer_that_differs_or_is_not_whole_is_not_known(data: bytes) -> None:
    assert taught().answer(data, NOW, persist=True) is None


def test_an_answer_for_a_client_that_goes_is_not_that_for_one_that_stays() -> None:
    assert taught().answer(ANSWER, NOW, persist=False) is None


def test_answers_are_forgotten_each_second_for_the_proxy_may_have_dated_them() -> None:
    memo = taught()
    assert memo.answer(ANSWER, LATER, persist=True) is None
    assert memo.answer(ANSWER, LATER, persist=True) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok",
        ANSWER.replace(b"X: y", b"X: " + b"y" * 2000),
    ],
)
def test_an_answer_that_is_not_plain_is_never_known(answer: bytes) -> None:
    assert taught(answer).answer(answer, NOW, persist=True) is None


def test_a_head_over_the_operators_limit_is_never_known() -> None:
    head_size = ANSWER.index(b"ok")
    for room, known in ((-1, False), (0, True)):
        memo, limits = learned(), LIMITS.model_copy(update={"response_head": head_size + room})
        memo.answer(ANSWER, NOW, persist=True)
        for _ in range(3):
            memo.learn_answer(ANSWER, read_request(HEAD), limits, NOW)
        assert (memo.answer(ANSWER, NOW, persist=True) is not None) is known


def test_an_origin_whose_answers_never_come_twice_is_not_looked_up_for_long() -> None:
    memo = learned()
    for number in range(100):
        memo.answer(ANSWER.replace(b"X: y", b"X: %d" % number), NOW, persist=True)
    assert memo.request(HEAD, NOW) is None
    assert memo.request(HEAD, LATER) is not None
