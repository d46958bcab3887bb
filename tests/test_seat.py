"""How long a worker that dies young is waited with before it is started again."""

from __future__ import annotations

from itertools import pairwise

from proxy.seat import BACKOFF, delay_before_restart


def test_a_worker_that_never_failed_is_started_at_once() -> None:
    assert delay_before_restart(0) == 0


def test_the_first_death_is_forgiven() -> None:
    assert delay_before_restart(1) == 0


def test_each_further_death_in_a_row_is_waited_with_longer() -> None:
    delays = [delay_before_restart(failures) for failures in range(1, len(BACKOFF) + 1)]
    assert all(shorter < longer for shorter, longer in pairwise(delays))


def test_the_wait_has_an_end() -> None:
    assert delay_before_restart(1000) == delay_before_restart(len(BACKOFF)) == max(BACKOFF)
