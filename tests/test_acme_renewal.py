"""When a certificate is renewed and how often an authority is asked, for any lifetime and clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from acme_client.renewal import (
    ARI_POLL,
    WAITS,
    Failure,
    Validity,
    Wait,
    Window,
    due,
    in_danger,
    jumped,
    next_poll,
    wait,
)

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)

lifetimes = some.timedeltas(timedelta(seconds=6), timedelta(days=398))
names = some.from_regex(r"[a-z]{1,20}\.example\.com", fullmatch=True)
moments = some.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=some.just(UTC))
chances = some.floats(0, 1, exclude_max=True)
failures = some.integers(1, 1000)


def validity(lifetime: timedelta) -> Validity:
    return Validity(BEGIN, BEGIN + lifetime)


@some.composite
def windows(draw: some.DrawFn) -> Window:
    start = draw(moments)
    length = draw(some.timedeltas(timedelta(microseconds=1), timedelta(days=4000)))
    return Window.draw(start, start + length, draw(chances))


@given(lifetimes, names, some.none() | windows())
def test_a_certificate_is_due_a_quarter_of_its_lifetime_before_its_end_at_the_latest(
    lifetime: timedelta, name: str, window: Window | None
) -> None:
    dates = validity(lifetime)
    assert due(dates, name, window) <= dates.not_after - lifetime / 4


@given(lifetimes.filter(lambda each: each >= 10 * DAY), names)
def test_a_third_is_left_of_a_lifetime_of_ten_days_and_more(lifetime: timedelta, name: str) -> None:
    late = due(validity(lifetime), name) - (BEGIN + lifetime * 2 / 3)
    assert timedelta(0) <= late <= min(lifetime / 100, 12 * HOUR)


@given(lifetimes.filter(lambda each: each < 10 * DAY), names)
def test_half_is_left_of_a_lifetime_under_ten_days(lifetime: timedelta, name: str) -> None:
    late = due(validity(lifetime), name) - (BEGIN + lifetime / 2)
    assert timedelta(0) <= late <= lifetime / 100


def test_hosts_that_got_their_certificates_together_do_not_come_back_together() -> None:
    times = {due(validity(90 * DAY), f"host{number}.example.com") for number in range(50)}
    assert len(times) == 50


@given(names)
def test_a_name_is_due_at_the_same_time_however_often_one_asks(name: str) -> None:
    assert due(validity(90 * DAY), name) == due(validity(90 * DAY), name)


@given(windows())
def test_the_time_drawn_in_a_window_lies_in_it(window: Window) -> None:
    assert window.start <= window.chosen <= window.end


@given(windows(), names)
def test_the_time_drawn_decides_unless_it_is_too_late(window: Window, name: str) -> None:
    dates = validity(90 * DAY)
    latest = dates.not_after - 90 * DAY / 4
    assert due(dates, name, window) == min(window.chosen, latest)


@given(moments, some.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_window_that_ends_before_it_starts_is_none(start: datetime, length: timedelta) -> None:
    with pytest.raises(ValueError, match="ends before it starts"):
        Window.draw(start, start - length, 0.5)


@given(some.sampled_from(Failure), failures, lifetimes, some.timedeltas(-400 * DAY, 400 * DAY))
def test_after_a_failure_an_authority_is_left_alone_for_a_while(
    kind: Failure, times: int, lifetime: timedelta, passed: timedelta
) -> None:
    planned = wait(kind, times, validity(lifetime), BEGIN + passed)
    if kind is Failure.PREMATURE and times == 1:
        assert planned == timedelta(0)
    else:
        assert planned >= min(*(each for each in WAITS[kind] if each), lifetime / 20)


@given(some.sampled_from(Failure), failures)
def test_no_wait_of_our_own_is_longer_than_three_days(kind: Failure, times: int) -> None:
    assert wait(kind, times) <= 3 * DAY


@given(some.sampled_from(Failure), failures, lifetimes.filter(lambda each: each < HOUR))
def test_a_certificate_of_minutes_is_tried_again_before_it_ends(
    kind: Failure, times: int, lifetime: timedelta
) -> None:
    planned = wait(kind, times, validity(lifetime), BEGIN)
    assert planned <= max(lifetime / 2, timedelta(seconds=0.5))


def test_transient_failures_are_tried_again_after_ever_longer_waits() -> None:
    waits = [wait(Failure.TRANSIENT, times) for times in range(1, 9)]
    assert waits == [each * MINUTE for each in (1, 2, 5, 15, 30, 60, 60, 60)]


def test_failed_validations_wait_for_an_eighth_of_what_is_left() -> None:
    dates = validity(90 * DAY)
    waits = [wait(Failure.VALIDATION, times, dates, BEGIN + 86 * DAY) for times in range(1, 6)]
    assert waits == [MINUTE, 10 * MINUTE, 100 * MINUTE, 12 * HOUR, 12 * HOUR]


@pytest.mark.parametrize(
    ("left", "expected"),
    [(80 * DAY, DAY), (DAY, 3 * HOUR), (HOUR, 15 * MINUTE), (-DAY, 15 * MINUTE)],
)
def test_that_eighth_is_between_a_quarter_of_an_hour_and_a_day(
    left: timedelta, expected: timedelta
) -> None:
    dates = validity(90 * DAY)
    assert wait(Failure.VALIDATION, 4, dates, dates.not_after - left) == expected


def test_what_was_refused_for_good_is_asked_again_the_next_day() -> None:
    assert wait(Failure.REFUSED, 1) == wait(Failure.REFUSED, 9) == DAY


def test_certificates_that_are_due_at_once_are_five_in_seven_days() -> None:
    at, times = timedelta(0), []
    for number in range(20):
        times.append(at)
        at += wait(Failure.PREMATURE, number + 1)
    for first in times:
        assert len([each for each in times if first <= each < first + 7 * DAY]) <= 5


@given(moments, some.timedeltas(timedelta(0), 7 * DAY), moments)
def test_a_clock_that_is_set_back_makes_no_wait_longer(
    begun: datetime, length: timedelta, now: datetime
) -> None:
    seen = Wait(begun, begun + length).seen_at(now)
    assert seen.ends - max(now, seen.begun) <= length
    assert seen.begun <= now


@given(some.none() | moments, moments.filter(lambda each: each.year < 8999))
def test_renewal_information_is_asked_for_between_each_minute_and_twice_a_day(
    named: datetime | None, now: datetime
) -> None:
    shortest, longest = ARI_POLL
    assert (shortest, longest) == (MINUTE, 12 * HOUR)
    assert shortest <= next_poll(named, now) - now <= longest


def test_a_certificate_is_in_danger_when_less_than_a_sixth_is_left() -> None:
    dates = validity(60 * DAY)
    assert not in_danger(dates, dates.not_after - 10 * DAY)
    assert in_danger(dates, dates.not_after - 10 * DAY + MINUTE)
    assert in_danger(dates, dates.not_after + DAY)


@pytest.mark.parametrize("wall", [100 * DAY, -100 * DAY, timedelta(0)])
def test_a_wall_clock_that_went_otherwise_than_the_monotonic_one_was_set(wall: timedelta) -> None:
    assert jumped(wall, elapsed=timedelta(hours=2))


def test_a_second_more_or_less_is_no_jump() -> None:
    assert not jumped(timedelta(seconds=61), elapsed=timedelta(seconds=60))
