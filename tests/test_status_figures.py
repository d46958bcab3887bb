"""All that was counted, as a person would ask for it."""

from __future__ import annotations

import pytest

from proxy.counts import Counts
from proxy.metrics import CONNECTIONS, SECONDS, WEBSOCKETS
from proxy.status.figures import Figures, Traffic
from proxy.tally import Tallies

MILLISECOND = 1_000_000


@pytest.fixture
def one(tallies: Tallies) -> Counts:
    return Counts(tallies.take())


@pytest.fixture
def other(tallies: Tallies) -> Counts:
    return Counts(tallies.take())


def bucket(milliseconds: int) -> int:
    return SECONDS.index(milliseconds / 1000)


def test_requests_of_a_site_are_one_sum_over_methods_codes_and_workers(
    tallies: Tallies, one: Counts, other: Counts
) -> None:
    for status in (200, 304, 404, 499, 502):
        one.request("a", b"GET", status, MILLISECOND)
    other.request("a", b"POST", 500, 20 * MILLISECOND)
    other.request("b", b"GET", 200, MILLISECOND)
    traffic = Figures(tallies.read()).traffic()["a"]
    assert traffic[:3] == (6, 2, 2)
    assert (traffic.counts[bucket(1)], traffic.counts[bucket(25)]) == (5, 1)


def test_requests_for_no_site_stand_under_no_name(tallies: Tallies, one: Counts) -> None:
    one.request("", b"GET", 404, MILLISECOND)
    assert Figures(tallies.read()).traffic()[""].errors_4xx == 1


def test_what_has_come_since_is_the_difference(tallies: Tallies, one: Counts) -> None:
    one.request("a", b"GET", 200, MILLISECOND)
    before = Figures(tallies.read()).traffic()["a"]
    one.request("a", b"GET", 503, 9 * MILLISECOND)
    lately = Figures(tallies.read()).traffic()["a"].since(before)
    assert lately[:3] == (1, 0, 1)
    assert (lately.counts[bucket(1)], lately.counts[bucket(10)]) == (0, 1)


def test_traffic_adds_up() -> None:
    counts = tuple(range(16))
    one, other = Traffic(1, 1, 0, counts), Traffic(2, 0, 1, counts)
    twice = tuple(2 * count for count in counts)
    assert Traffic.together([one, other]) == Traffic(3, 1, 1, twice)
    assert Traffic.together([]) == Traffic()


def test_upstream_errors_stand_under_their_site_by_reason(tallies: Tallies, one: Counts) -> None:
    for reason in ("refused", "refused", "timeout"):
        one.upstream_failed("a", reason)
    assert Figures(tallies.read()).upstream_errors() == {"a": {"refused": 2, "timeout": 1}}


def test_what_nobody_counted_is_nothing(tallies: Tallies) -> None:
    figures = Figures(tallies.read())
    assert (figures.one(WEBSOCKETS, "a"), figures.one(CONNECTIONS, "https")) == (0, 0)


def test_an_origin_that_any_worker_speaks_against_is_marked_with_the_reason(
    tallies: Tallies, one: Counts, other: Counts
) -> None:
    one.upstream_marked("a", "http://o", "refused", healthy=False)
    other.upstream_marked("a", "http://o", "closed", healthy=False)
    other.upstream_marked("a", "http://o", "closed", healthy=True)
    [(key, mark)] = Figures(tallies.read()).marks().items()
    assert (key, mark.reason) == (("a", "http://o"), "refused")
    assert mark.since is not None


def test_an_origin_that_has_come_back_is_not_marked(tallies: Tallies, one: Counts) -> None:
    one.upstream_marked("a", "http://o", "refused", healthy=False)
    one.upstream_marked("a", "http://o", "refused", healthy=True)
    assert Figures(tallies.read()).marks() == {}
