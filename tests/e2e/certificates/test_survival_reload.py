"""The configuration changes while an order is under way: a keeper ends, and another begins."""

from __future__ import annotations

import threading
from datetime import timedelta

from tests import acme_faults as faults
from tests.acme_shim import Visit
from tests.e2e.certificates.lab import Lab
from tests.pebble import needs_pebble
from tests.programs import wait_for

pytestmark = needs_pebble


def interrupted(lab: Lab, *hosts: str) -> None:
    """A keeper is told to end while its first order is being finalized."""
    reached = threading.Event()

    def fault(visit: Visit) -> None:
        reached.set()
        visit.answer(visit.forward())

    lab.shim.on("finalize", fault, times=1)
    with lab.running(hosts=hosts) as keeper:
        assert reached.wait(10)
        keeper.stop()
        lab.ended(keeper)


def test_a_host_added_in_mid_order_gets_its_certificate_next(lab: Lab) -> None:
    added = f"added.{lab.host}"
    interrupted(lab, lab.host)
    with lab.running(hosts=[lab.host, added], reloaded=True):
        wait_for(lambda: lab.store.load(added), 10, what="the added host's certificate")
        wait_for(lab.served, 10, what="the first host's")
    assert lab.shim.count("newOrder") == 2


def test_a_host_taken_out_is_ordered_for_no_more(lab: Lab) -> None:
    kept = f"kept.{lab.host}"
    lab.tick(lab.keeper(hosts=[lab.host, kept]))
    lab.clock.pass_by(timedelta(days=75))
    lab.tick(lab.keeper(hosts=[kept], reloaded=True))
    renewed = [call.payload["identifiers"][0]["value"] for call in lab.shim.of("newOrder")[2:]]
    assert renewed == [kept]


def test_a_host_taken_out_in_mid_order_breaks_no_other(lab: Lab) -> None:
    kept = f"kept.{lab.host}"
    interrupted(lab, lab.host, kept)
    with lab.running(hosts=[kept], reloaded=True):
        wait_for(lambda: lab.store.load(kept), 10, what="the kept host's certificate")
    assert lab.store.state(kept).last_error is None


def test_a_reload_asks_again_for_what_was_refused_for_good(lab: Lab) -> None:
    lab.shim.on("newOrder", faults.problem(403, "caa", "a CAA record forbids it"), times=1)
    keeper = lab.keeper()
    lab.tick(keeper)
    lab.tick(keeper)
    assert lab.shim.count("newOrder") == 1
    lab.tick(lab.keeper(reloaded=True))
    assert lab.served() is not None


def test_a_reload_asks_no_earlier_than_a_429_named(lab: Lab) -> None:
    limited = faults.problem(429, "rateLimited", "too many", retry_after="3600")
    lab.shim.on("newOrder", limited, times=1)
    keeper = lab.keeper()
    lab.tick(keeper)
    lab.tick(lab.keeper(reloaded=True))
    assert lab.shim.count("newOrder") == 1
