"""The CA says no, or not now: it is never asked earlier than it said, and nobody notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests import acme_faults as faults
from tests.acme_shim import Fault
from tests.e2e.certificates.earlier import DAY
from tests.e2e.certificates.lab import Lab, Start
from tests.pebble import Behaviour, needs_pebble

pytestmark = needs_pebble
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NAMED = timedelta(minutes=150)  # longer than any wait of our own
STEP = timedelta(minutes=5)


@pytest.fixture(params=["UTC", "America/Los_Angeles", "Asia/Kolkata"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This process's time zone: what the C library makes of TZ."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def rate_limited(form: str, until: datetime) -> Fault:
    """429 until `until`, said in seconds, as a date, or in Let's Encrypt's text alone."""
    if form == "in the text":
        words = f"too many certificates already issued, retry after {until:%Y-%m-%d %H:%M:%S} UTC"
        return faults.problem(429, "rateLimited", f"{words}: see https://ca.example/limits")
    date = faults.http_date(until.timestamp())
    said = str(int(NAMED.total_seconds())) if form == "in seconds" else date
    return faults.problem(429, "rateLimited", "too many certificates", retry_after=said)


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("form", ["in seconds", "as a date", "in the text"])
def test_nothing_is_ordered_before_the_time_a_429_names(lab: Lab, form: str) -> None:
    until = (lab.clock() + NAMED).astimezone(UTC)
    lab.shim.on("newOrder", rate_limited(form, until), times=1)
    keeper = lab.keeper()
    lab.tick(keeper)
    while lab.clock() + STEP < until:
        lab.clock.pass_by(STEP)
        lab.tick(keeper)
        assert lab.shim.count("newOrder") == 1
    lab.clock.pass_by(2 * STEP)
    lab.tick(keeper)
    assert lab.shim.count("newOrder") == 2
    assert lab.served() is not None


def test_a_429_is_remembered_over_a_restart(lab: Lab) -> None:
    lab.shim.on("newOrder", rate_limited("in seconds", lab.clock() + NAMED), times=1)
    lab.tick()
    lab.clock.pass_by(30 * MINUTE)
    lab.tick(lab.keeper())
    assert lab.shim.count("newOrder") == 1


def test_while_the_first_ca_says_later_the_next_one_issues(lab: Lab, start: Start) -> None:
    other = start(Behaviour(always_valid=True))
    limited = faults.problem(429, "rateLimited", "too many certificates", retry_after="3600")
    lab.shim.on("newOrder", limited)
    lab.tick(lab.keeper(fallback=(other.directory,)))
    assert other.issued() == 1
    assert lab.served() is not None


def test_html_from_an_overloaded_load_balancer_is_waited_out(lab: Lab) -> None:
    before = lab.put(begun=89 * DAY, ends=DAY)
    lab.shim.on("directory", faults.overloaded("120"))
    lab.shim.on("newOrder", faults.overloaded("120"))
    keeper = lab.keeper()
    lab.tick(keeper)
    calls = lab.shim.count()
    lab.clock.pass_by(timedelta(seconds=110))
    lab.tick(keeper)
    assert lab.shim.count() == calls
    assert lab.served_certificate() == before.certificate
    lab.shim.heal()
    lab.clock.pass_by(timedelta(seconds=20))
    lab.tick(keeper)
    assert lab.served_certificate() != before.certificate


def test_the_cas_own_words_reach_the_operator(lab: Lab) -> None:
    words = "this account has been naughty"
    lab.shim.on("newOrder", faults.problem(403, "unauthorized", words))
    lab.tick()
    assert words in (lab.store.state(lab.host).last_error or "")


def test_a_blocked_name_is_not_asked_for_again_within_a_day(lab: Lab, start: Start) -> None:
    strict = start(Behaviour(always_valid=True, blocked=[lab.host]))
    keeper = lab.keeper(directory=strict.directory)
    for _ in range(23):
        lab.tick(keeper)
        lab.clock.pass_by(HOUR)
    assert strict.log().count("POST /order-plz") == 1
    assert "forbidden by policy" in (lab.store.state(lab.host).last_error or "")


def test_half_of_all_nonces_refused_costs_only_time(lab: Lab, start: Start) -> None:
    moody = start(Behaviour(always_valid=True, nonces_refused=50))
    lab.obtain(directory=moody.directory)
    assert lab.served() is not None


def test_nearly_all_nonces_refused_is_backed_off_from(lab: Lab, start: Start) -> None:
    hostile = start(Behaviour(always_valid=True, nonces_refused=100))
    keeper = lab.keeper(directory=hostile.directory)
    lab.tick(keeper)
    asked = hostile.log().count("POST ")
    assert asked >= 10
    for _ in range(30):
        lab.clock.pass_by(timedelta(seconds=1))
        lab.tick(keeper)
    assert hostile.log().count("POST ") == asked
    assert "nonce" in (lab.store.state(lab.host).last_error or "").lower()


def test_an_account_the_ca_forgot_is_registered_again_with_the_same_key(lab: Lab) -> None:
    keys = []
    lab.obtain()
    keys.append(lab.account_key())
    gone = faults.problem(400, "accountDoesNotExist", "Account not found")
    lab.shim.on("newOrder", gone, times=1)
    lab.obtain()
    keys.append(lab.account_key())
    assert lab.shim.count("newAccount") == 2
    assert keys[0] == keys[1]


def test_a_ca_that_lost_everything_gets_a_new_registration(lab: Lab, start: Start) -> None:
    forgetful = start(Behaviour(always_valid=True))
    lab.obtain(directory=forgetful.directory)
    forgetful.restart()
    lab.obtain(directory=forgetful.directory)
    assert forgetful.issued() == 2


def test_the_second_ca_issues_while_the_first_is_dead(lab: Lab, start: Start) -> None:
    other = start(Behaviour(always_valid=True))
    with lab.shim.away():
        lab.tick(lab.keeper(fallback=(other.directory,)))
    assert other.issued() == 1
    assert lab.served() is not None
