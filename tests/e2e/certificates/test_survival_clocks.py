"""Clocks that are wrong: visitors keep their certificate, the CA is not stormed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests import acme_faults as faults
from tests.e2e.certificates.earlier import DAY
from tests.e2e.certificates.lab import Lab
from tests.pebble import needs_pebble

pytestmark = needs_pebble
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
WEEKLY_LIMIT = 5  # Let's Encrypt: certificates for one exact set of names in seven days


def test_a_clock_set_a_hundred_days_ahead_keeps_within_the_weekly_limit(lab: Lab) -> None:
    lab.obtain()
    keeper = lab.keeper()
    lab.tick(keeper)
    lab.clock.jump(100 * DAY)
    for _ in range(7 * 24):
        lab.tick(keeper)
        assert lab.served() is not None
        lab.clock.pass_by(HOUR)
    assert lab.shim.count("newOrder") <= 1 + WEEKLY_LIMIT


def test_a_clock_set_a_hundred_days_back_orders_nothing(lab: Lab) -> None:
    before = lab.obtain()
    keeper = lab.keeper()
    lab.tick(keeper)
    lab.clock.jump(-100 * DAY)
    for _ in range(48):
        lab.tick(keeper)
        assert lab.served() == before
        lab.clock.pass_by(HOUR)
    assert lab.shim.count("newOrder") == 1


def test_a_clock_that_was_ahead_and_is_right_again_orders_nothing_more(lab: Lab) -> None:
    lab.obtain()
    keeper = lab.keeper()
    lab.clock.jump(100 * DAY)
    lab.tick(keeper)
    lab.clock.jump(-100 * DAY)
    orders = lab.shim.count("newOrder")
    for _ in range(48):
        lab.tick(keeper)
        lab.clock.pass_by(HOUR)
    assert lab.shim.count("newOrder") == orders


def test_a_wait_begun_by_a_clock_far_ahead_ends_when_the_clock_is_right(lab: Lab) -> None:
    limited = faults.problem(429, "rateLimited", "too many", retry_after="3600")
    lab.shim.on("newOrder", limited, times=1)
    keeper = lab.keeper()
    lab.clock.jump(100 * DAY)
    lab.tick(keeper)
    lab.clock.jump(-100 * DAY)
    lab.tick(keeper)
    assert lab.served() is None
    lab.clock.pass_by(HOUR)
    lab.tick(keeper)
    assert lab.served() is not None


@pytest.mark.parametrize("ahead", [HOUR, 30 * DAY])
def test_a_certificate_from_the_future_causes_no_storm(lab: Lab, ahead: timedelta) -> None:
    lab.put(begun=-ahead, ends=90 * DAY)
    keeper = lab.keeper()
    for _ in range(60):
        lab.tick(keeper)
        assert lab.served() is not None
        lab.clock.pass_by(MINUTE)
    assert lab.shim.count("newOrder") <= 1
