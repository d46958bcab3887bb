"""The configuration changes while an order is under way."""

from __future__ import annotations

from datetime import timedelta

from tests import acme_faults as faults
from tests.acme_shim import Fault, Visit
from tests.e2e.certificates.lab import Lab
from tests.pebble import needs_pebble
from tests.programs import wait_for

pytestmark = needs_pebble


def once_ordered(lab: Lab, change: Fault) -> None:
    """Do `change` while the first order is being finalized, and go on."""

    def fault(visit: Visit) -> None:
        change(visit)
        visit.answer(visit.forward())

    lab.shim.on("finalize", fault, times=1)


def test_a_host_added_in_mid_order_gets_its_certificate_next(lab: Lab) -> None:
    added = f"added.{lab.host}"
    with lab.running() as keeper:
        once_ordered(lab, lambda _: keeper.reload(lab.settings(), [lab.host, added]))
        wait_for(lambda: lab.store.load(added), 10, what="the added host's certificate")
    assert lab.served() is not None
    assert lab.shim.count("newOrder") == 2


def test_a_host_taken_out_is_ordered_for_no_more(lab: Lab) -> None:
    kept = f"kept.{lab.host}"
    keeper = lab.keeper(hosts=[lab.host, kept])
    lab.tick(keeper)
    keeper.reload(lab.settings(), [kept])
    lab.clock.pass_by(timedelta(days=75))
    lab.tick(keeper)
    renewed = [call.payload["identifiers"][0]["value"] for call in lab.shim.of("newOrder")[2:]]
    assert renewed == [kept]


def test_a_host_taken_out_in_mid_order_breaks_no_other(lab: Lab) -> None:
    kept = f"kept.{lab.host}"
    with lab.running(hosts=[lab.host, kept]) as keeper:
        once_ordered(lab, lambda _: keeper.reload(lab.settings(), [kept]))
        wait_for(lambda: lab.store.load(kept), 10, what="the kept host's certificate")
    assert lab.store.state(kept).last_error is None


def test_a_reload_asks_again_for_what_was_refused_for_good(lab: Lab) -> None:
    lab.shim.on("newOrder", faults.problem(403, "caa", "a CAA record forbids it"), times=1)
    keeper = lab.keeper()
    lab.tick(keeper)
    lab.tick(keeper)
    assert lab.shim.count("newOrder") == 1
    keeper.reload(lab.settings(), [lab.host])
    lab.tick(keeper)
    assert lab.served() is not None


def test_a_reload_asks_no_earlier_than_a_429_named(lab: Lab) -> None:
    limited = faults.problem(429, "rateLimited", "too many", retry_after="3600")
    lab.shim.on("newOrder", limited, times=1)
    keeper = lab.keeper()
    lab.tick(keeper)
    keeper.reload(lab.settings(), [lab.host])
    lab.tick(keeper)
    assert lab.shim.count("newOrder") == 1
