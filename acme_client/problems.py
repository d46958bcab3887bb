"""An authority's refusal as the error that says what to do about it.

Law: pure; the table is the policy. The words are the authority's own: `detail` of its problem
document (RFC 7807, RFC 8555 §6.7) with those of its subproblems, or the beginning of whatever else
it sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .errors import (
    AccountGone,
    AlreadyReplaced,
    GiveUp,
    IssueError,
    NotUnderstood,
    Retry,
    RetryLater,
    ValidationFailed,
)
from .renewal import HOUR
from .times import retry_after
from .transport import Answer

# Somebody has to change a record, a setting or a contract before asking again makes sense.
_HOPELESS = frozenset(
    {
        "caa",
        "rejectedIdentifier",
        "unsupportedIdentifier",
        "externalAccountRequired",
        "invalidContact",
        "unsupportedContact",
        "badPublicKey",
        "badCSR",
        "badSignatureAlgorithm",
        "invalidProfile",
        "userActionRequired",
        "unauthorized",
    }
)
_VALIDATION = frozenset({"dns", "dnssec", "connection", "tls", "incorrectResponse", "unauthorized"})
# Too many requests, and no word of when they will be few enough.
WITHOUT_A_TIME = HOUR
_CONFLICT = 409
_TOO_MANY = 429
_SERVER_ERROR = 500


def problem_type(answer: Answer) -> str:
    """The last part of a problem document's type (`badNonce`), empty where there is none."""
    return _type(_document(answer))


def refusal(answer: Answer, now: datetime) -> IssueError:
    """The error that a response with a status of 400 or more is."""
    document = _document(answer)
    words = _words(document) or f"HTTP {answer.status}: {answer.excerpt() or 'no words'}"
    kind = _type(document)
    if kind == "accountDoesNotExist":
        return AccountGone(words)
    if kind == "alreadyReplaced" or answer.status == _CONFLICT:
        return AlreadyReplaced(words)
    if answer.status == _TOO_MANY or kind == "rateLimited":
        return _later(words, answer.fields.get("retry-after"), now)
    if kind in _HOPELESS:
        return GiveUp(words)
    named = retry_after(answer.fields.get("retry-after"), "", now)
    if named is not None:
        return RetryLater(words, named)
    return NotUnderstood(words) if answer.status < _SERVER_ERROR else Retry(words)


def failure(document: Mapping[str, Any], now: datetime) -> IssueError:
    """The error that a failed challenge or order carries in its `error`."""
    words, kind = _words(document) or "the authority gives no reason", _type(document)
    if kind == "rateLimited":
        return _later(words, None, now)
    if kind in _VALIDATION:
        return ValidationFailed(words)
    return GiveUp(words) if kind in _HOPELESS else Retry(words)


def validation_failure(name: str, document: Mapping[str, Any], now: datetime) -> IssueError:
    """The error of a challenge: unlike elsewhere, what is not known is a failed validation."""
    error = failure(document, now)
    if isinstance(error, RetryLater):
        return error
    kind = GiveUp if isinstance(error, GiveUp) else ValidationFailed
    return kind(f"{name}: {error}")


def _later(words: str, field: str | None, now: datetime) -> RetryLater:
    named = retry_after(field, words, now)
    return RetryLater(words, now + WITHOUT_A_TIME if named is None else named)


def _document(answer: Answer) -> Mapping[str, Any]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _type(document: Mapping[str, Any]) -> str:
    return str(document.get("type") or "").rpartition(":")[2]


def _words(document: Mapping[str, Any]) -> str:
    """The authority's words with their type, in one line."""
    kind = _type(document)
    detail = " ".join(str(document.get("detail") or "").split())
    parts = [f"{detail} ({kind})" if detail and kind else detail or kind]
    subproblems = document.get("subproblems")
    if isinstance(subproblems, list):
        parts += [_words(each) for each in subproblems if isinstance(each, dict)]
    return "; ".join(part for part in parts if part)
