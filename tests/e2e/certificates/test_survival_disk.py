"""The disk is full or the store read-only: no order is placed that could not be kept."""

from __future__ import annotations

import os
from datetime import timedelta

from tests.e2e.certificates.earlier import DAY
from tests.e2e.certificates.lab import Lab
from tests.pebble import needs_pebble
from tests.programs import requires, wait_for

pytestmark = needs_pebble
needs_prlimit = requires("prlimit", "apt-get install util-linux")
needs_setpriv = requires("setpriv", "apt-get install util-linux")
FULL = ("prlimit", "--fsize=8192")  # writing more than 8 KiB to a file fails, as on a full disk
# root passes over permissions: the capability to do so is what is taken away
DENIED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


@needs_prlimit
def test_on_a_full_disk_no_order_is_placed_and_the_old_pair_stays(lab: Lab) -> None:
    before = lab.put(begun=89 * DAY, ends=DAY)
    with lab.process(FULL) as starved:
        wait_for(lambda: starved.says("(?i)file too large"), what="word of the full disk")
    assert lab.shim.count("newOrder") == 0
    assert lab.served_certificate() == before.certificate


@needs_prlimit
def test_a_disk_with_room_again_is_used(lab: Lab) -> None:
    lab.put(begun=89 * DAY, ends=DAY)
    with lab.process(FULL) as starved:
        wait_for(lambda: starved.says("(?i)file too large"), what="word of the full disk")
    lab.clock.pass_by(timedelta(minutes=10))
    lab.tick()
    assert lab.remaining() > 80 * DAY


@needs_setpriv
def test_a_read_only_store_is_served_from_and_told_of(lab: Lab) -> None:
    before = lab.put(begun=89 * DAY, ends=DAY)
    lab.folder.chmod(0o500)
    try:
        with lab.process(DENIED) as denied:
            wait_for(lambda: denied.says("(?i)permission denied"), what="word of the store")
            assert lab.served_certificate() == before.certificate
        assert lab.shim.count("newOrder") == 0
    finally:
        lab.folder.chmod(0o700)


def test_a_pair_that_cannot_be_written_stops_no_other_host(lab: Lab) -> None:
    lab.file(".pem").mkdir(parents=True)
    other = f"other.{lab.host}"
    lab.tick(lab.keeper(hosts=[lab.host, other]))
    assert lab.store.load(other) is not None
