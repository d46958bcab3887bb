"""The times that authorities name: seconds, HTTP-dates, and Let's Encrypt's own words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from acme_client.times import LONGEST_NAMED_WAIT, from_text, retry_after, to_text

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
moments = some.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=some.just(UTC))


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/St_Johns"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_a_number_is_seconds_from_now() -> None:
    assert retry_after("3600", "", NOW) == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    "date",
    [
        "Sun, 01 Mar 2026 13:00:00 GMT",
        "Sunday, 01-Mar-26 13:00:00 GMT",
        "Sun Mar  1 13:00:00 2026",
        "Sun, 01 Mar 2026 13:00:00 -0000",
    ],
)
def test_a_date_is_utc_wherever_the_machine_is(zone: str, date: str) -> None:
    assert retry_after(date, "", NOW) == NOW + timedelta(hours=1), zone


def test_lets_encrypts_words_are_understood(zone: str) -> None:
    words = (
        "too many certificates (5) already issued for this exact set of identifiers in the last "
        "168h0m0s, retry after 2026-03-01 13:00:00 UTC: see https://letsencrypt.org/docs/"
    )
    assert retry_after(None, words, NOW) == NOW + timedelta(hours=1), zone


def test_of_two_times_the_later_holds() -> None:
    words = "retry after 2026-03-01 13:00:00 UTC"
    assert retry_after("60", words, NOW) == NOW + timedelta(hours=1)
    assert retry_after("7200", words, NOW) == NOW + timedelta(hours=2)


@given(some.text() | some.integers(0).map(str) | moments.map(to_text), some.text())
def test_whatever_is_named_is_none_or_within_a_week(field: str, words: str) -> None:
    named = retry_after(field, words, NOW)
    assert named is None or named <= NOW + LONGEST_NAMED_WAIT


@pytest.mark.parametrize("field", ["", "soon", "-5", "1.5", "٣", "Sun, 99 Mar 2026 13:00:00 GMT"])
def test_what_cannot_be_read_names_no_time(field: str) -> None:
    assert retry_after(field, "no words", NOW) is None


@given(moments)
def test_a_time_survives_its_text(moment: datetime) -> None:
    assert from_text(to_text(moment)) == moment


@pytest.mark.parametrize("text", [None, 5, "", "yesterday", "2026-03-01T12:00:00", "9999-99-99"])
def test_what_is_no_time_with_a_zone_is_none(text: object) -> None:
    assert from_text(text) is None
