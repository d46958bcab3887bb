"""An order is cut short, or brings what nobody can serve: one issuance, and no lost pair."""

from __future__ import annotations

from datetime import timedelta

import pytest

from acme_client import Store
from tests import acme_faults as faults
from tests.acme_shim import Fault
from tests.authority import Authority
from tests.e2e.certificates.earlier import DAY
from tests.e2e.certificates.lab import Lab, Start
from tests.pebble import Behaviour, needs_pebble
from tests.programs import wait_for

pytestmark = needs_pebble
HOUR = timedelta(hours=1)


def test_a_process_killed_between_finalize_and_download_costs_no_second_issuance(
    lab: Lab,
) -> None:
    issued = lab.ca.issued()
    lab.shim.on("certificate", faults.hang)
    with lab.process() as killed:
        wait_for(lambda: lab.shim.count("certificate"), what="the download")
        killed.end()
    lab.shim.heal()
    lab.tick()
    assert lab.served() is not None
    assert lab.ca.issued() == issued + 1
    assert lab.shim.count("newOrder") == 1


def test_a_line_that_breaks_after_finalize_costs_no_second_issuance(lab: Lab) -> None:
    issued = lab.ca.issued()
    lab.shim.on("finalize", faults.reset_after, times=1)
    keeper = lab.keeper()
    lab.tick(keeper)
    lab.clock.pass_by(2 * HOUR)
    lab.tick(keeper)
    assert lab.served() is not None
    assert lab.ca.issued() == issued + 1


def test_a_lost_nonce_costs_no_second_order(lab: Lab) -> None:
    for resource in ("newAccount", "newOrder", "challenge", "finalize"):
        lab.shim.on(resource, faults.without_nonce)
    lab.obtain()
    assert lab.shim.count("newOrder") == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.content(b""),
        faults.content(b"<html>Internal Server Error</html>"),
        faults.content(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        faults.leaf_only,
    ],
    ids=["nothing", "HTML", "PEM around garbage", "a leaf without its chain"],
)
def test_a_download_nobody_can_serve_leaves_the_old_pair(lab: Lab, fault: Fault) -> None:
    before = lab.put(begun=89 * DAY, ends=DAY)
    lab.shim.on("certificate", fault)
    lab.tick()
    assert lab.shim.count("certificate") > 0
    assert lab.served_certificate() == before.certificate
    assert lab.store.state(lab.host).last_error


def test_a_certificate_for_another_key_leaves_the_old_pair(lab: Lab, authority: Authority) -> None:
    before = lab.put(begun=89 * DAY, ends=DAY)
    lab.shim.on("certificate", faults.another_key(authority, lab.host))
    lab.tick()
    assert lab.shim.count("certificate") > 0
    assert lab.served_certificate() == before.certificate
    assert lab.store.state(lab.host).last_error


def test_bad_downloads_end_with_the_ca_that_gave_them(lab: Lab) -> None:
    lab.put(begun=89 * DAY, ends=DAY)
    lab.shim.on("certificate", faults.leaf_only, times=1)
    keeper = lab.keeper()
    lab.tick(keeper)
    lab.clock.pass_by(2 * HOUR)
    lab.tick(keeper)
    assert lab.remaining() > 80 * DAY


def test_a_crash_before_any_step_on_the_disk_leaves_a_pair_and_costs_one_issuance(
    lab: Lab, start: Start
) -> None:
    quick = start(Behaviour(always_valid=True, authorizations_reused=True))
    old = lab.put(begun=89 * DAY, ends=DAY)
    steps = lab.crash_at_every_step(quick)
    assert len(steps) > 14
    for folder in steps[:-1]:
        reader = Store(folder).load(lab.host)
        assert reader is not None, f"{folder}: a visitor would find no pair"
        lab.tick(lab.keeper(store=Store(folder), directory=quick.directory))
        healed = Store(folder).load(lab.host)
        assert healed is not None
        assert healed.certificate != old.certificate
    assert quick.issued() == len(steps)


def test_of_two_processes_one_orders_and_the_other_takes_over_within_a_tick(lab: Lab) -> None:
    with lab.process() as first:
        wait_for(lab.served, what="the first certificate")
        with lab.process() as second:
            wait_for(lambda: second.says("following"), what="the second process waiting")
            assert lab.shim.count("newOrder") == 1
            first.end()
            lab.file(".pem").unlink()
            wait_for(lab.served, what="the second process issuing")
    assert lab.shim.count("newOrder") == 2
    assert lab.shim.count("newAccount") == 1
