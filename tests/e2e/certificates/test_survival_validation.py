"""The CA cannot see the host: the other challenge is tried, and no limit is run into."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.e2e.certificates.lab import Lab, Start
from tests.pebble import Behaviour, NameServer, needs_pebble

pytestmark = needs_pebble
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
HOURLY_LIMIT = 5  # Let's Encrypt: failed validations of one name in an hour
HTTP_FIRST = ("http-01", "tls-alpn-01")
TLS_FIRST = ("tls-alpn-01", "http-01")


@pytest.mark.parametrize(
    ("closed", "order"), [("http", HTTP_FIRST), ("tls", TLS_FIRST)], ids=["port 80", "port 443"]
)
def test_a_closed_port_makes_the_other_challenge_succeed(
    lab: Lab, closed: str, order: tuple[str, str]
) -> None:
    lab.responder.shut(closed)
    lab.tick(lab.keeper(challenges=order))
    assert lab.served() is not None


def test_a_port_80_that_swallows_everything_makes_the_other_challenge_succeed(lab: Lab) -> None:
    lab.responder.swallow("http")
    lab.tick(lab.keeper(challenges=HTTP_FIRST))
    assert lab.served() is not None


@pytest.mark.parametrize("order", [HTTP_FIRST, TLS_FIRST], ids=" then ".join)
def test_each_challenge_is_answered_from_the_store_and_taken_away_again(
    lab: Lab, order: tuple[str, str]
) -> None:
    lab.tick(lab.keeper(challenges=order))
    assert {asked.split()[0] for asked in lab.responder.asked} == {order[0]}
    assert [path for path in (lab.folder / "challenges").rglob("*") if path.is_file()] == []


def test_the_challenge_that_worked_is_tried_first_the_next_time(lab: Lab) -> None:
    lab.responder.shut("http")
    lab.tick(lab.keeper(challenges=HTTP_FIRST))
    failed = lab.ca.failed_validations()
    lab.clock.pass_by(timedelta(days=75))
    lab.tick(lab.keeper(challenges=HTTP_FIRST))
    assert lab.shim.count("finalize") == 2
    assert lab.ca.failed_validations() == failed


def test_servfail_fails_at_most_five_validations_an_hour(lab: Lab, names: NameServer) -> None:
    names.fail(lab.host)
    keeper = lab.keeper()
    failures = [lab.ca.failed_validations()]
    for _ in range(4 * 60):
        lab.tick(keeper)
        lab.clock.pass_by(MINUTE)
        failures.append(lab.ca.failed_validations())
    hours = [after - before for before, after in zip(failures, failures[60:], strict=False)]
    assert 0 < max(hours) <= HOURLY_LIMIT
    names.recover(lab.host)
    lab.clock.pass_by(6 * HOUR)
    lab.tick(keeper)
    assert lab.served() is not None


def test_several_hosts_failing_do_not_hold_up_the_one_that_can_be_seen(
    lab: Lab, names: NameServer
) -> None:
    unseen = [f"unseen{number}.{lab.host}" for number in range(3)]
    for host in unseen:
        names.fail(host)
    lab.tick(lab.keeper(hosts=[*unseen, lab.host]))
    assert lab.served() is not None


def test_an_ip_address_gets_a_certificate_of_its_own(lab: Lab, start: Start) -> None:
    real = start(Behaviour(), ports=(lab.ca.http_port, lab.ca.tls_port))
    lab.tick(lab.keeper(hosts=["127.0.0.1"], directory=real.directory))
    assert lab.store.load("127.0.0.1") is not None
