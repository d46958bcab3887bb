"""How long requests take, from a histogram's buckets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metrics import SECONDS
from proxy.status.latency import quantiles

BUCKETS = len(SECONDS) + 1


def counted(**buckets: int) -> list[int]:
    """Counts by the upper bound of their bucket in milliseconds: ms5=3."""
    counts = [0] * BUCKETS
    for name, count in buckets.items():
        counts[SECONDS.index(int(name.removeprefix("ms")) / 1000)] = count
    return counts


def test_nothing_counted_has_no_latency() -> None:
    assert quantiles([0] * BUCKETS) is None


def test_a_quantile_lies_in_the_bucket_in_which_its_request_ended() -> None:
    assert quantiles(counted(ms5=90, ms100=9, ms1000=1)) == {
        "p50": pytest.approx(0.0025 + 0.0025 * 50 / 90, abs=1e-6),
        "p90": 0.005,
        "p99": 0.1,
    }


def test_the_first_bucket_begins_at_nothing() -> None:
    assert quantiles(counted(ms1=2)) == {"p50": 0.0005, "p90": 0.0009, "p99": 0.00099}


def test_beyond_the_last_bound_that_bound_is_told() -> None:
    assert quantiles([*[0] * len(SECONDS), 7]) == {"p50": 60.0, "p90": 60.0, "p99": 60.0}


@given(st.lists(st.integers(0, 10**9), min_size=BUCKETS, max_size=BUCKETS).filter(any))
def test_a_larger_share_is_never_quicker(counts: list[int]) -> None:
    found = quantiles(counts)
    assert found is not None
    assert 0 <= found["p50"] <= found["p90"] <= found["p99"] <= SECONDS[-1]
