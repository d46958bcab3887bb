"""Which context a connection starts on, by a clock that is told."""

from __future__ import annotations

from OpenSSL import SSL

from proxy.rotation import DAY_SECONDS, DAYS_AHEAD, DAYS_LOW, Rotation


class Told:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def rotation(clock: Told) -> Rotation:
    made = Rotation(lambda: SSL.Context(SSL.TLS_METHOD), clock)
    made.refill()
    return made


def through(days: Rotation, clock: Told, count: int) -> list[SSL.Context]:
    """The contexts of so many days, from today on."""
    contexts = []
    for _ in range(count):
        contexts.append(days.current)
        clock.now += DAY_SECONDS
    return contexts


def test_a_context_is_that_of_its_day_to_the_end() -> None:
    clock = Told()
    days = rotation(clock)
    first = days.current
    clock.now += DAY_SECONDS - 0.001
    assert days.current is first
    clock.now += 0.001
    assert days.current is not first


def test_no_day_has_the_context_of_another_however_many_there_are() -> None:
    clock = Told()
    contexts = through(rotation(clock), clock, DAYS_AHEAD + 10)
    assert len(set(map(id, contexts))) == DAYS_AHEAD + 10


def test_days_on_which_nobody_came_are_skipped() -> None:
    told, looked_at = Told(), Told()
    seldom = rotation(told)
    told.now += 5.5 * DAY_SECONDS
    assert seldom.current is seldom.current
    told.now += 0.4 * DAY_SECONDS
    last = seldom.current
    told.now += 0.1 * DAY_SECONDS
    assert seldom.current is not last
    daily = rotation(looked_at)
    assert len(set(map(id, through(daily, looked_at, 6)))) == 6


def test_what_is_made_anew_follows_what_is_there() -> None:
    """So a worker that starts later has the same days as its elders."""
    clock = Told()
    days = rotation(clock)
    elder = list(days._contexts)
    clock.now += 10 * DAY_SECONDS
    days.refill()
    assert list(days._contexts)[: DAYS_AHEAD - 10] == elder[10:]
    assert len(days._contexts) == DAYS_AHEAD


def test_little_is_left_when_the_last_days_have_come() -> None:
    clock = Told()
    days = rotation(clock)
    clock.now += (DAYS_AHEAD - DAYS_LOW) * DAY_SECONDS - 1
    assert not days.low
    clock.now += 1
    assert days.low
    days.refill()
    assert not days.low
