"""How often one client may ask, whichever workers it meets."""

from __future__ import annotations

import os
import signal
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.quotas import WAYS, Quota, Quotas
from tests.forks import Fork, forks
from tests.programs import wait_for

SECOND = 1_000_000_000
CLIENT = "192.0.2.1"
TEN = Quota.of("a", requests=10, per=1, burst=3)


class StillQuotas(Quotas):
    """Quotas whose time moves only when a test says so."""

    def __init__(self) -> None:
        self.now = SECOND
        super().__init__(clock=lambda: self.now)
        self.join()

    def at(self, now: int, quota: Quota = TEN, address: str = CLIENT) -> int:
        """The seconds to wait at that moment."""
        self.now = now
        return self.seconds_to_wait(quota, address)


@pytest.fixture
def quotas() -> StillQuotas:
    return StillQuotas()


def granted(quotas: StillQuotas, asked: int, now: int, quota: Quota = TEN) -> int:
    """How many of so many requests at one moment are let on."""
    return sum(not quotas.at(now, quota) for _ in range(asked))


def test_a_burst_is_let_on_at_once_and_not_one_more(quotas: StillQuotas) -> None:
    assert granted(quotas, 10, SECOND) == 3


def test_after_a_burst_requests_are_let_on_at_their_rate(quotas: StillQuotas) -> None:
    granted(quotas, 10, SECOND)
    moments = range(SECOND, 3 * SECOND + 1, SECOND // 100)
    assert sum(granted(quotas, 2, now) for now in moments) == 20


def test_what_was_not_used_is_saved_up_to_a_burst_only(quotas: StillQuotas) -> None:
    granted(quotas, 10, SECOND)
    assert granted(quotas, 10, 3600 * SECOND) == 3


@pytest.mark.parametrize(("requests", "per", "wait"), [(10, 1, 1), (1, 60, 60), (2, 3, 2)])
def test_who_is_refused_is_told_in_whole_seconds_when_to_come_again(
    quotas: StillQuotas, requests: int, per: float, wait: int
) -> None:
    quota = Quota.of("a", requests=requests, per=per, burst=1)
    assert quotas.at(SECOND, quota) == 0
    assert quotas.at(SECOND, quota) == wait
    assert quotas.at(SECOND + wait * SECOND, quota) == 0


def test_a_refusal_costs_no_token(quotas: StillQuotas) -> None:
    granted(quotas, 1000, SECOND)
    assert granted(quotas, 1, SECOND + SECOND // 10) == 1


def test_each_client_has_a_bucket_of_its_own(quotas: StillQuotas) -> None:
    granted(quotas, 10, SECOND)
    assert quotas.at(SECOND, TEN, "192.0.2.2") == 0


def test_an_ipv6_network_of_64_bits_is_one_client(quotas: StillQuotas) -> None:
    for last in (1, 2, 3):
        assert quotas.at(SECOND, TEN, f"2001:db8::{last}") == 0
    assert quotas.at(SECOND, TEN, "2001:db8::ffff") == 1
    assert quotas.at(SECOND, TEN, "2001:db8:0:1::1") == 0


def test_each_quota_has_buckets_of_its_own(quotas: StillQuotas) -> None:
    granted(quotas, 10, SECOND)
    assert granted(quotas, 10, SECOND, Quota.of("b", requests=10, per=1, burst=3)) == 3


def test_a_quota_written_anew_goes_on_unless_its_figures_have_changed(quotas: StillQuotas) -> None:
    granted(quotas, 10, SECOND)
    assert granted(quotas, 10, SECOND, Quota.of("a", requests=10, per=1, burst=3)) == 0
    assert granted(quotas, 10, SECOND, Quota.of("a", requests=10, per=1, burst=4)) == 4


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 50),
    st.floats(0.01, 100),
    st.integers(1, 50),
    st.lists(st.integers(0, 5 * SECOND), max_size=60),
)
def test_alone_a_worker_is_exact(requests: int, per: float, burst: int, pauses: list[int]) -> None:
    quotas, quota = StillQuotas(), Quota.of("a", requests=requests, per=per, burst=burst)
    now, full_at = SECOND, 0
    for pause in pauses:
        now += pause
        # The algorithm as ITU-T I.371 has it, with one number.
        moved = max(now, full_at) + quota.interval
        allowed = moved - now <= quota.burst * quota.interval
        full_at = moved if allowed else full_at
        assert (quotas.at(now, quota) == 0) is allowed


def test_when_the_table_is_full_who_asked_least_makes_room(
    quotas: StillQuotas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.quotas.SETS", 16)
    granted(quotas, 3, SECOND)
    for address in (f"10.0.{n >> 8}.{n & 255}" for n in range(4 * 16 * WAYS)):
        assert quotas.at(SECOND, TEN, address) == 0
    assert granted(quotas, 1, SECOND) == 0


def test_words_of_two_clients_mixed_up_shut_nobody_out(quotas: StillQuotas) -> None:
    granted(quotas, 10, SECOND)
    starts = quotas._starts
    for slot in [slot for slot, start in enumerate(starts.tolist()) if start]:
        starts[slot] += 10**6 * SECOND
    assert granted(quotas, 10, SECOND) == 3


HAMMERING = 0.3


@pytest.mark.parametrize("workers", [2, 4])
def test_hammered_by_all_workers_a_bucket_gives_what_it_should_but_for_one_each(
    workers: int,
) -> None:
    quotas, quota = Quotas(), Quota.of("a", requests=1000, per=1, burst=50)
    begin = time.monotonic_ns() + SECOND // 5

    def hammer() -> int:
        quotas.join()
        while time.monotonic_ns() < begin:
            pass
        count = 0
        while time.monotonic_ns() < begin + HAMMERING * SECOND:
            count += not quotas.seconds_to_wait(quota, CLIENT)
        return count

    with forks(workers, hammer) as running:
        count = sum(worker.said() for worker in running)
    ideal = 50 + HAMMERING * 1000
    # On a busy machine all may be out of turn at the end: the last tokens are not asked for.
    assert ideal * 0.6 <= count <= ideal + 2 * (workers - 1) + 1


def test_a_worker_stopped_or_killed_at_any_moment_shuts_nobody_out() -> None:
    quotas, quota = Quotas(), Quota.of("a", requests=100, per=1, burst=3)
    quotas.join()

    def hammer() -> int:
        quotas.join()
        while True:
            quotas.seconds_to_wait(quota, CLIENT)

    for end in [signal.SIGSTOP, signal.SIGKILL] * 10:
        with Fork(hammer) as worker:
            wait_for(lambda: quotas.seconds_to_wait(quota, CLIENT), 5)
            os.kill(worker.pid, end)
            wait_for(lambda: not quotas.seconds_to_wait(quota, CLIENT), 1)
