"""What an authority's refusals ask of us."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from acme_client.errors import (
    AccountGone,
    AlreadyReplaced,
    GiveUp,
    IssueError,
    NotUnderstood,
    Retry,
    RetryLater,
    ValidationFailed,
)
from acme_client.problems import WITHOUT_A_TIME, problem_type, refusal, validation_failure
from acme_client.transport import Answer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ERROR = "urn:ietf:params:acme:error:"


def problem(kind: str, detail: str = "its words", **more: object) -> dict[str, Any]:
    return {"type": f"{ERROR}{kind}", "detail": detail, **more}


def answer(status: int, document: object, **fields: str) -> Answer:
    named = {name.replace("_", "-").lower(): value for name, value in fields.items()}
    return Answer(status, named, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "accountDoesNotExist", AccountGone),
        (409, "alreadyReplaced", AlreadyReplaced),
        (409, "conflict", AlreadyReplaced),
        (403, "rejectedIdentifier", GiveUp),
        (403, "caa", GiveUp),
        (403, "externalAccountRequired", GiveUp),
        (400, "invalidContact", GiveUp),
        (401, "unauthorized", GiveUp),
        (400, "malformed", NotUnderstood),
        (400, "somethingNew", NotUnderstood),
        (500, "serverInternal", Retry),
        (503, "serverInternal", Retry),
    ],
)
def test_each_problem_has_its_remedy(status: int, kind: str, expected: type[IssueError]) -> None:
    error = refusal(answer(status, problem(kind)), NOW)
    assert type(error) is expected
    assert str(error) == f"its words ({kind})"


@pytest.mark.parametrize(
    ("status", "kind"), [(429, "rateLimited"), (429, ""), (403, "rateLimited")]
)
def test_too_many_requests_wait_for_the_time_that_is_named(status: int, kind: str) -> None:
    error = refusal(answer(status, problem(kind), retry_after="7200"), NOW)
    assert isinstance(error, RetryLater)
    assert error.not_before == NOW + timedelta(hours=2)


def test_too_many_requests_without_a_time_wait_for_an_hour() -> None:
    error = refusal(answer(429, problem("rateLimited")), NOW)
    assert isinstance(error, RetryLater)
    assert error.not_before == NOW + WITHOUT_A_TIME


def test_a_time_in_the_words_is_a_time() -> None:
    words = "too many certificates, retry after 2026-03-03 12:00:00 UTC: see …"
    error = refusal(answer(429, problem("rateLimited", words)), NOW)
    assert isinstance(error, RetryLater)
    assert error.not_before == NOW + timedelta(days=2)


def test_an_overloaded_server_that_names_a_time_is_left_alone_until_then() -> None:
    html = Answer(503, {"retry-after": "600"}, b"<html>\n <h1>Sorry</h1></html>")
    error = refusal(html, NOW)
    assert isinstance(error, RetryLater)
    assert error.not_before == NOW + timedelta(minutes=10)
    assert str(error) == "HTTP 503: <html> <h1>Sorry</h1></html>"


def test_an_empty_answer_has_no_words() -> None:
    assert str(refusal(Answer(502, {}, b""), NOW)) == "HTTP 502: no words"


def test_the_words_of_subproblems_are_told_too() -> None:
    document = problem("malformed", subproblems=[problem("caa", "a.example"), "odd", {}])
    assert str(refusal(answer(400, document), NOW)) == "its words (malformed); a.example (caa)"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("dns", ValidationFailed),
        ("connection", ValidationFailed),
        ("unauthorized", ValidationFailed),
        ("incorrectResponse", ValidationFailed),
        ("serverInternal", ValidationFailed),
        ("caa", GiveUp),
        ("rejectedIdentifier", GiveUp),
        ("rateLimited", RetryLater),
    ],
)
def test_a_failed_challenge_has_its_remedy(kind: str, expected: type[IssueError]) -> None:
    error = validation_failure("example.com", problem(kind), NOW)
    assert type(error) is expected
    assert "its words" in str(error)


def test_a_failed_challenge_without_a_reason_is_told_as_such() -> None:
    assert str(validation_failure("host", {}, NOW)) == "host: the authority gives no reason"


json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(),
    lambda each: some.lists(each) | some.dictionaries(some.text(), each),
)
documents = json_values | some.fixed_dictionaries(
    {"type": json_values, "detail": json_values, "subproblems": json_values}
)


@given(some.integers(400, 599), documents, some.text())
def test_whatever_is_answered_is_an_error_that_can_be_dealt_with(
    status: int, document: object, field: str
) -> None:
    error = refusal(answer(status, document, retry_after=field), NOW)
    assert isinstance(error, IssueError)
    assert str(error)
    assert "\n" not in problem_type(answer(status, document)) or document
