"""A CA that is down, drips or hangs: work waits for it, nothing else does."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from tests import acme_faults as faults
from tests.acme_shim import Fault
from tests.e2e.certificates.earlier import DAY
from tests.e2e.certificates.lab import Lab
from tests.pebble import needs_pebble
from tests.programs import wait_for

pytestmark = needs_pebble
RESOURCES = ("directory", "newNonce", "newAccount", "newOrder", "finalize", "certificate")
SLOW = pytest.mark.parametrize("fault", [faults.drip, faults.hang], ids=["drip", "hang"])


def test_a_host_without_certificate_gets_one_as_soon_as_the_ca_is_back(lab: Lab) -> None:
    lab.shim.go_away()
    with lab.running():
        wait_for(lambda: lab.store.state(lab.host).last_error, what="a first attempt")
        lab.shim.come_back()
        wait_for(lab.served, 10, what="the certificate")


def test_a_valid_certificate_can_be_loaded_while_the_ca_is_down(lab: Lab) -> None:
    lab.obtain()
    with lab.shim.away(), lab.running():
        before = time.monotonic()
        assert lab.served() is not None
        assert time.monotonic() - before < 1


@SLOW
@pytest.mark.parametrize("resource", RESOURCES)
def test_a_slow_answer_is_given_up_on_at_its_deadline(
    lab: Lab, resource: str, fault: Fault
) -> None:
    before = lab.put(begun=89 * DAY, ends=DAY)
    lab.shim.on(resource, fault)
    begun = time.monotonic()
    lab.tick(lab.keeper(deadline=0.5))
    assert time.monotonic() - begun < 10
    assert lab.shim.count(resource) > 0
    assert lab.served_certificate() == before.certificate
    assert lab.store.state(lab.host).last_error


@SLOW
@pytest.mark.parametrize("resource", ["directory", "newOrder", "certificate"])
def test_stop_is_obeyed_within_a_second_whatever_the_ca_does(
    lab: Lab, resource: str, fault: Fault
) -> None:
    lab.shim.on(resource, fault)
    with lab.running() as keeper:
        wait_for(lambda: lab.shim.count(resource), what="the slow call")
        begun = time.monotonic()
        keeper.stop()
        lab.ended(keeper)
        assert time.monotonic() - begun < 1


def test_stop_is_obeyed_within_a_second_while_nothing_is_due(lab: Lab) -> None:
    lab.obtain()
    with lab.running() as keeper:
        wait_for(lambda: lab.store.state(lab.host).next_renewal, what="a first look")
        begun = time.monotonic()
        keeper.stop()
        lab.ended(keeper)
        assert time.monotonic() - begun < 1


def test_an_hour_without_the_ca_is_an_hour_of_few_calls(lab: Lab) -> None:
    lab.put(begun=89 * DAY, ends=DAY)
    lab.shim.on("directory", faults.overloaded("1"))
    keeper = lab.keeper()
    for _ in range(3600 // 30):
        lab.tick(keeper)
        lab.clock.pass_by(timedelta(seconds=30))
    assert 2 <= lab.shim.count("directory") <= 60
