"""Points in time as they are written: in files, in Retry-After fields, in a CA's words.

Law: every datetime of this package is aware and in UTC; a text that cannot be read is None, never
an exception, since it comes from somebody else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

Clock = Callable[[], datetime]
Monotonic = Callable[[], float]

# Let's Encrypt's longest window; a longer wait is a slip of somebody's and would cost the
# certificate.
LONGEST_NAMED_WAIT = timedelta(days=7)
# "…, retry after 2025-01-02 15:04:05 UTC: see https://letsencrypt.org/docs/rate-limits/"
_IN_WORDS = re.compile(
    r"retry after (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.\d+)? ?(?:UTC|Z)", re.IGNORECASE
)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


monotonic = time.monotonic


def to_text(moment: datetime) -> str:
    """ISO 8601 with a Z, whole seconds without a fraction."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def from_text(text: object) -> datetime | None:
    """The reverse of `to_text`; also RFC 3339 with any offset."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def retry_after(field: str | None, words: str, now: datetime) -> datetime | None:
    """The time an authority named, in its Retry-After field or in its words: the later of them.

    The field is a number of seconds or an HTTP-date, which is always UTC (RFC 9110 §10.2.3).
    Never more than a week ahead.
    """
    named = [each for each in (_in_field(field, now), _in_words(words)) if each is not None]
    return min(max(named), now + LONGEST_NAMED_WAIT) if named else None


def _in_field(field: str | None, now: datetime) -> datetime | None:
    if field is None:
        return None
    if field.strip().isascii() and field.strip().isdigit():
        # Nine digits are thirty years: more would only overflow.
        return now + timedelta(seconds=int(field.strip()[:9]))
    try:
        moment = parsedate_to_datetime(field)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # "-0000" and a missing zone give a naive time; HTTP knows no other zone than UTC.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _in_words(words: str) -> datetime | None:
    found = _IN_WORDS.search(words)
    return from_text(f"{found[1]}T{found[2]}+00:00") if found else None
