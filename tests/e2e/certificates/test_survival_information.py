"""Renewal information (RFC 9773) helps where it is right, and harms nobody where it is wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests import acme_faults as faults
from tests.acme_shim import RenewalInfo
from tests.e2e.certificates.earlier import DAY
from tests.e2e.certificates.lab import Lab, Start, certificate_id
from tests.pebble import Behaviour, needs_go, needs_pebble, newer_pebble

pytestmark = needs_pebble
HOUR = timedelta(hours=1)


def window(lab: Lab, start: timedelta, end: timedelta) -> RenewalInfo:
    """A suggested window, told from the lab's now."""
    now = lab.clock()
    return RenewalInfo.window(
        f"{now + start:%Y-%m-%dT%H:%M:%SZ}", f"{now + end:%Y-%m-%dT%H:%M:%SZ}"
    )


def test_a_window_in_the_past_renews_now_and_names_what_it_replaces(lab: Lab) -> None:
    before = lab.obtain()
    lab.shim.renewal_info = window(lab, -2 * DAY, -DAY)
    keeper = lab.keeper()
    lab.until_polled(keeper)
    assert lab.served_certificate() != before.certificate
    [*_, call] = lab.shim.of("newOrder")
    assert call.payload["replaces"] == certificate_id(before)


def test_a_window_to_come_keeps_the_certificate_until_then(lab: Lab) -> None:
    before = lab.obtain()
    lab.shim.renewal_info = window(lab, 5 * DAY, 5 * DAY + HOUR)
    keeper = lab.keeper()
    for _ in range(4):
        lab.tick(keeper)
        assert lab.served() == before
        lab.clock.pass_by(DAY)
    lab.clock.pass_by(DAY + 2 * HOUR)
    lab.tick(keeper)
    assert lab.served() != before


@pytest.mark.parametrize(
    "answer",
    [
        RenewalInfo(b"not JSON at all"),
        RenewalInfo([]),
        RenewalInfo({}),
        RenewalInfo({"suggestedWindow": "soon"}),
        RenewalInfo({"suggestedWindow": {"start": "soon", "end": "later"}}),
        RenewalInfo.window("2030-01-02T00:00:00Z", "2030-01-01T00:00:00Z"),
        RenewalInfo.window("2020-01-02T00:00:00Z", "2020-01-01T00:00:00Z"),
        RenewalInfo({"type": "about:blank"}, status=500),
        RenewalInfo({"type": "about:blank"}, retry_after="never", status=404),
    ],
    ids=[
        "no JSON", "a list", "empty", "a text", "no times", "inverted, to come",
        "inverted, past", "500", "404",
    ],
)  # fmt: skip
def test_bad_renewal_information_changes_nothing(lab: Lab, answer: RenewalInfo) -> None:
    before = lab.obtain()
    lab.shim.renewal_info = answer
    keeper = lab.keeper()
    for _ in range(3):
        lab.tick(keeper)
        lab.clock.pass_by(DAY)
    assert lab.shim.count("renewalInfo") > 0
    assert lab.served() == before
    lab.clock.pass_by(60 * DAY)
    lab.tick(keeper)
    assert lab.served() != before


def test_renewal_information_that_hangs_delays_no_renewal(lab: Lab) -> None:
    lab.put(begun=89 * DAY, ends=DAY)
    lab.shim.renewal_info = RenewalInfo({})
    lab.shim.on("renewalInfo", faults.hang)
    lab.tick(lab.keeper(deadline=2.0))
    assert lab.remaining() > 80 * DAY


def test_alreadyreplaced_is_ordered_once_more_without_replaces(lab: Lab) -> None:
    before = lab.obtain()
    lab.shim.renewal_info = window(lab, -2 * DAY, -DAY)
    lab.shim.on("newOrder", faults.already_replaced)
    keeper = lab.keeper()
    lab.until_polled(keeper)
    assert lab.served() != before
    first, second = lab.shim.of("newOrder")[1:]
    assert "replaces" in first.payload
    assert "replaces" not in second.payload


def test_renewal_information_is_asked_for_twice_a_day(lab: Lab) -> None:
    lab.obtain()
    lab.shim.renewal_info = window(lab, 30 * DAY, 31 * DAY)
    keeper = lab.keeper()
    for _ in range(96):
        lab.tick(keeper)
        lab.clock.pass_by(timedelta(minutes=30))
    assert 4 <= lab.shim.count("renewalInfo") <= 12


@needs_go
def test_a_real_ca_accepts_what_is_replaced_and_the_profile_that_is_asked_for(
    lab: Lab, start: Start
) -> None:
    profiles = {"classic": 90 * 24 * 3600, "shortlived": 6 * 24 * 3600}
    real = start(Behaviour(always_valid=True, profiles=profiles), program=newer_pebble())
    lab.obtain(directory=real.directory, profile="shortlived")
    assert timedelta(days=5) < lab.remaining() < timedelta(days=7)
    lab.clock.pass_by(timedelta(days=4))
    lab.tick(lab.keeper(directory=real.directory, profile="shortlived"))
    assert real.issued() == 2
    assert "is a replacement of" in real.log()
