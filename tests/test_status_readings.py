"""What was counted a while ago, so that there is something to compare with."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.status.readings import Reading, Readings


def compared_with(times: Iterable[float]) -> list[float | None]:
    """Who asks at these times: with what time each is compared."""
    readings = Readings()
    found = [readings.compared(Reading(at, {})) for at in times]
    return [None if each is None else each.at for each in found]


def test_the_first_who_asks_has_nothing_to_compare_with() -> None:
    assert compared_with([100.0]) == [None]


def test_the_next_is_compared_with_the_first() -> None:
    assert compared_with([100.0, 101.0, 102.0]) == [None, 100.0, 100.0]


def test_who_asks_on_and_on_is_compared_with_a_minute_ago() -> None:
    *_, last = compared_with(range(0, 600, 2))
    assert last is not None
    assert 54 <= 598 - last <= 60


def test_who_asks_seldom_is_compared_with_the_last_time() -> None:
    assert compared_with([0.0, 300.0, 600.0]) == [None, 0.0, 300.0]


def test_after_a_long_silence_the_old_reading_gives_way_to_the_new_one() -> None:
    assert compared_with([0.0, 300.0, 302.0]) == [None, 0.0, 300.0]


def test_however_often_somebody_asks_few_readings_are_kept() -> None:
    readings = Readings()
    for at in range(100_000):
        readings.compared(Reading(at / 100, {}))
    assert len(readings._kept) <= 14
