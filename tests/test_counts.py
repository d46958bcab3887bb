"""What one process counts of what it does."""

from __future__ import annotations

import pytest

from proxy.counts import Counts, Oversight
from proxy.metrics import SECONDS
from proxy.tally import Tallies

MILLISECOND = 1_000_000


@pytest.fixture
def counts(tallies: Tallies) -> Counts:
    return Counts(tallies.take())


def told(tallies: Tallies, name: str) -> dict[tuple[str, ...], list[int]]:
    return {series.key[1:]: values for series, values in tallies.read() if series.key[0] == name}


def test_requests_are_counted_by_site_method_and_status(tallies: Tallies, counts: Counts) -> None:
    for method in (b"GET", b"GET", b"PATCH"):
        counts.request("a", method, 200, MILLISECOND)
    counts.request("", b"GET", 404, MILLISECOND)
    assert told(tallies, "hopward_requests_total") == {
        ("a", "GET", "200"): [2],
        ("a", "PATCH", "200"): [1],
        ("", "GET", "404"): [1],
    }


@pytest.mark.parametrize("method", [b"", b"PURGE", b"get", b"X" * 5000])
def test_a_method_that_is_not_registered_counts_as_other(
    tallies: Tallies, counts: Counts, method: bytes
) -> None:
    counts.request("a", method, 200, MILLISECOND)
    assert told(tallies, "hopward_requests_total") == {("a", "other", "200"): [1]}


def test_a_client_cannot_make_us_remember_its_methods(counts: Counts) -> None:
    for number in range(1000):
        counts.request("a", b"M%d" % number, 200, MILLISECOND)
    assert len(counts._requests) == 0


@pytest.mark.parametrize("number", range(len(SECONDS)))
def test_a_time_falls_into_the_first_bucket_that_it_does_not_exceed(
    tallies: Tallies, counts: Counts, number: int
) -> None:
    bound = round(SECONDS[number] * 1000 * MILLISECOND)
    counts.request("a", b"GET", 200, bound)
    counts.request("a", b"GET", 200, bound + 1)
    [values] = told(tallies, "hopward_request_seconds").values()
    assert values[number] == values[number + 1] == 1
    assert sum(values[:-1]) == 2
    assert values[-1] == 2 * bound + 1


def test_a_gauge_rises_and_falls(tallies: Tallies, counts: Counts) -> None:
    counts.connected("https")
    counts.connected("https")
    counts.parted("https")
    counts.websocket_began("a")
    counts.websocket_ended("a")
    assert told(tallies, "hopward_connections")["https",] == [1]
    assert told(tallies, "hopward_websockets") == {("a",): [0]}


def test_a_worker_that_takes_no_more_clients_is_old(tallies: Tallies, counts: Counts) -> None:
    assert told(tallies, "hopward_workers") == {("serving",): [1], ("old",): [0]}
    counts.retired()
    assert told(tallies, "hopward_workers") == {("serving",): [0], ("old",): [1]}


def test_lost_lines_of_successive_workers_add_up(tallies: Tallies) -> None:
    for lost in (2, 3):
        tally = tallies.take()
        worker = Counts(tally)
        worker.ticked(upstreams=0, lost_lines=1)
        worker.ticked(upstreams=0, lost_lines=lost)
        tallies.release(tally)
    assert told(tallies, "hopward_access_log_lost_lines_total") == {(): [5]}


def test_a_tick_is_a_sign_of_life(tallies: Tallies, counts: Counts) -> None:
    counts.ticked(upstreams=7, lost_lines=0)
    assert counts.tally.heartbeat > 0
    assert told(tallies, "hopward_connections")["upstream",] == [7]


def test_the_supervisor_counts_from_zero_what_it_does(tallies: Tallies) -> None:
    oversight = Oversight(tallies)
    assert told(tallies, "hopward_config_reloads_total") == {("success",): [0], ("failure",): [0]}
    oversight.reloaded(success=True)
    oversight.reloaded(success=False)
    oversight.reloaded(success=False)
    oversight.restarted()
    assert told(tallies, "hopward_config_reloads_total") == {("success",): [1], ("failure",): [2]}
    assert told(tallies, "hopward_worker_restarts_total") == {(): [1]}


def test_after_an_upgrade_in_place_the_supervisor_counts_on(tallies: Tallies) -> None:
    Oversight(tallies).restarted()
    Oversight(Tallies.adopt(tallies.descriptor)).restarted()
    assert told(tallies, "hopward_worker_restarts_total") == {(): [2]}
    assert len(list(tallies)) == 1
